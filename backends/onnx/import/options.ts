/** Import options and result. */
import { didYouMean, type Graph, UsageError } from "../../../compiler/index.ts";
import type { ExternalReader, ImportedParameter } from "./weights.ts";

/** What to import of a file, and how. */
export interface ImportOptions {
  /** The graph's name; default: the one in the file. */
  readonly name?: string;
  /**
   * By name of a symbolic size: its value, or what it equals: another symbolic size, or a polynomial such as "32*rows".
   */
  readonly sizes?: Readonly<Record<string, number | string>>;
  /** Inputs to turn into constants: elements by input name, in the shape that the file declares. */
  readonly constants?: Readonly<Record<string, ArrayLike<number>>>;
  /** Names of values to import instead of the file's outputs, with what they need: any output of a node. */
  readonly outputs?: readonly string[];
  /** Reads external data. */
  readonly external?: ExternalReader;
}

const optionNames: Readonly<Record<keyof ImportOptions, true>> = {
  name: true,
  sizes: true,
  constants: true,
  outputs: true,
  external: true,
};

const isText = (value: unknown) => typeof value === "string";

/** Throws UsageError for unknown options. */
export function requireOptions(options: ImportOptions): void {
  const known = Object.keys(optionNames);
  if (typeof options !== "object" || options === null)
    throw new UsageError(`the options of importOnnx must be an object with ${known.join(", ")}, got ${options}`);
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  const told = unknown.map((name) => `importOnnx has no option "${name}"${didYouMean(name, known)}`);
  if (told.length > 0) throw new UsageError(`${told.join("\n")}\n  hint: it has ${known.join(", ")}`);
  const { outputs } = options;
  if (outputs !== undefined && !(Array.isArray(outputs) && outputs.length > 0 && outputs.every(isText)))
    throw new UsageError("the option outputs of importOnnx must be a list of at least one name");
}

/** What an ONNX file became: a graph with named axes, and its weights. */
export interface OnnxImport {
  readonly graph: Graph;
  /** The file's weights, by the names of the graph's parameters. */
  readonly parameters: ReadonlyMap<string, ImportedParameter>;
  /** Notes for users: invented names, and differences from the file. */
  readonly notes: readonly string[];
  readonly opset: number;
}
