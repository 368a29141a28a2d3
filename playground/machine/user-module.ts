/** Runs the user's module: JavaScript from the editor, imported from a blob, so that nothing is evaluated from text. */
import { setLocationMapper, setSourceReader, UsageError } from "../../compiler/index.ts";
import * as heddle from "../../dsl/index.ts";
import * as models from "../../models/index.ts";
import { mapperOf } from "./source-map.ts";
import { modelFile } from "./user-module-name.ts";

/** What the language service makes of the editor's text. */
export interface Code {
  /** As it was written. */
  readonly source: string;
  /** JavaScript with the same imports. */
  readonly js: string;
  /** Of a source map. */
  readonly mappings: string;
  /** What it imports, and where in the JavaScript that is said. */
  readonly imports: readonly { readonly name: string; readonly from: number; readonly to: number }[];
}

/** What the user's module may import. */
const packages: Readonly<Record<string, Readonly<Record<string, unknown>>>> = { heddle, "heddle/models": models };

/** The modules that stand for packages, by name; made once. */
const addresses = new Map<string, string>();

/** The module's exports. Throws what it throws; places in messages are those of the text that was written. */
export async function runModule({ source, js, mappings, imports }: Code): Promise<Readonly<Record<string, unknown>>> {
  const map = mapperOf(mappings, modelFile);
  setSourceReader((file) => (file === modelFile ? source : undefined));
  setLocationMapper((location) => (location.file.startsWith("blob:") ? map(location) : location));
  const url = blobUrl(withAddresses(js, imports));
  try {
    return await import(/* @vite-ignore */ url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

const blobUrl = (code: string): string => URL.createObjectURL(new Blob([code], { type: "text/javascript" }));

/** Names of packages become addresses, from the last to the first, so that places before stay. */
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
