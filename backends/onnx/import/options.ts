/** What an import is told, and what it gives. */
import { didYouMean, type Graph, UsageError } from "../../../compiler/index.ts";
import type { ExternalReader, ImportedParameter } from "./weights.ts";

export interface ImportOptions {
  /** What the graph is called; default what the file says. */
  readonly name?: string;
  /** Numbers for open sizes, or other open sizes that they are the same as, by name. */
  readonly sizes?: Readonly<Record<string, number | string>>;
  /** Inputs that are known now and are no inputs of the graph: their elements by name, in the shape that the file says. */
  readonly constants?: Readonly<Record<string, ArrayLike<number>>>;
  /** Reads what lies in files beside the model. */
  readonly external?: ExternalReader;
}

const optionNames: Readonly<Record<keyof ImportOptions, true>> = {
  name: true,
  sizes: true,
  constants: true,
  external: true,
};

/** Throws UsageError for options that there are not. */
export function requireOptions(options: ImportOptions): void {
  const known = Object.keys(optionNames);
  if (typeof options !== "object" || options === null)
    throw new UsageError(`the options of importOnnx are an object of ${known.join(", ")}, not ${options}`);
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  const told = unknown.map((name) => `importOnnx has no option "${name}"${didYouMean(name, known)}`);
  if (told.length > 0) throw new UsageError(`${told.join("\n")}\n  hint: it has ${known.join(", ")}`);
}

export interface OnnxImport {
  readonly graph: Graph;
  /** The weights of the file, by the names of the graph's parameters. */
  readonly parameters: ReadonlyMap<string, ImportedParameter>;
  /** For people: what was invented, and what is otherwise than in the file. */
  readonly notes: readonly string[];
  readonly opset: number;
}
