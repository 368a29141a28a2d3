/** The inputs that a graph must be fed. */
import { didYouMean, type Graph, inputName, isFeed, type Node, UsageError } from "../../../compiler/index.ts";

/** The input of that name. Throws UsageError if there is none. */
export function feedNamed(graph: Graph, name: string): Node {
  const found = graph.inputs.find((n) => isFeed(n) && inputName(n) === name);
  if (found) return found;
  const known = graph.inputs.filter(isFeed).map(inputName);
  throw new UsageError(`model "${graph.name}" has no input "${name}"${didYouMean(name, known)}`);
}
