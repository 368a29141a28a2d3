/** Runs the user's module: JavaScript from the editor, imported from a blob, so that eval is not needed. */
import { type SourceLocation, setLocationMapper, setSourceReader, UsageError } from "../../compiler/index.ts";
import * as heddle from "../../dsl/index.ts";
import * as models from "../../models/index.ts";
import { mapperOf } from "./source-map.ts";
import { modelFile } from "./user-module-name.ts";

/** The editor's text as JavaScript. */
export interface Code {
  /** The original text. */
  readonly source: string;
  /** JavaScript with the same imports. */
  readonly js: string;
  /** The mappings of its source map; without one, every position is that of the original text. */
  readonly mappings?: string;
  /** Its imports, with their positions in the JavaScript. */
  readonly imports: readonly { readonly name: string; readonly from: number; readonly to: number }[];
}

/** Packages that the user's module may import. */
const packages: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { heddle, "heddle/models": models };

/** URLs of the modules that stand in for packages, by name; created once. */
const addresses = new Map<string, string>();

/** The module's exports. Throws the module's errors, with positions of the original text. */
export async function runModule({ source, js, mappings, imports }: Code): Promise<Readonly<Record<string, unknown>>> {
  const map: typeof identity = mappings === undefined ? identity : mapperOf(mappings, modelFile);
  setSourceReader((file) => (file === modelFile ? source : undefined));
  setLocationMapper((location) => (location.file.startsWith("blob:") ? map(location) : location));
  const url = blobUrl(withAddresses(js, imports));
  try {
    return await import(/* @vite-ignore */ url);
  } catch (error) {
    if (error instanceof SyntaxError) error.message = withNames(error.message);
    throw error;
  } finally {
    URL.revokeObjectURL(url);
  }
}

const identity = (location: SourceLocation): SourceLocation => ({ ...location, file: modelFile });

/** "The requested module 'heddle' does not provide an export named 'x'": with the package in place of its URL. */
const withNames = (message: string): string =>
  [...addresses].reduce((text, [name, url]) => text.replaceAll(url, name), message);

const blobUrl = (code: string): string => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));

/** Replaces package names by URLs, from last to first, so that earlier positions stay valid. */
const withAddresses = (js: string, imports: Code["imports"]): string =>
  imports.toReversed().reduce((text, { name, from, to }) => {
    const at = text.indexOf(name, from);
    return at < 0 || at > to ? text : text.slice(0, at) + addressOf(name) + text.slice(at + name.length);
  }, js);

function addressOf(name: string): string {
  const found = addresses.get(name);
  if (found) return found;
  if (!Object.hasOwn(packages, name))
    throw new UsageError(`the playground has no module "${name}"; it has ${Object.keys(packages).join(", ")}`);
  const shared = globalThis as unknown as { heddlePackages?: typeof packages };
  shared.heddlePackages = packages;
  const names = Object.keys(packages[name]!).filter((n) => n !== "default");
  const url = blobUrl(`export const { ${names.join(", ")} } = globalThis.heddlePackages[${JSON.stringify(name)}];`);
  addresses.set(name, url);
  return url;
}
