/** Values of a graph's symbolic sizes from options: one for all, and some by name. */
import { type Graph, graphSymbols, type Sizes, UsageError } from "../compiler/index.ts";

export interface SizeArguments {
  /** For every symbolic size that `size` does not name. */
  readonly batch: number;
  /** "past=512" */
  readonly size: readonly string[];
}

/**
 * The symbolic sizes' values. Throws UsageError for a value that is not an integer of 1 or more, and for a size that
 * the graph does not have.
 */
export function sizesOf(graph: Graph, { batch, size }: SizeArguments): Sizes {
  const symbols = graphSymbols(graph);
  const sizes = Object.fromEntries(symbols.map((s) => [s, batch]));
  for (const given of size) {
    const [name = "", number = ""] = given.split("=");
    const value = Number(number);
    if (!symbols.includes(name)) {
      const known = symbols.length > 0 ? symbols.join(", ") : "none";
      throw new UsageError(`graph @${graph.name} has no open size "${name}"; it has ${known}`);
    }
    if (!Number.isInteger(value) || value < 1)
      throw new UsageError(`--size must be an integer of at least 1, such as ${name}=16; got "${given}"`);
    sizes[name] = value;
  }
  return sizes;
}
