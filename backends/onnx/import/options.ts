/** What an import is told, and what it gives. */
import type { Graph } from "../../../compiler/index.ts";
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

export interface OnnxImport {
  readonly graph: Graph;
  /** The weights of the file, by the names of the graph's parameters. */
  readonly parameters: ReadonlyMap<string, ImportedParameter>;
  /** For people: what was invented, and what is otherwise than in the file. */
  readonly notes: readonly string[];
  readonly opset: number;
}
