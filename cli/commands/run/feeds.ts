/** What a graph wants to be fed. */
import { didYouMean, type Graph, inputName, isFeed, type Node, UsageError } from "../../../compiler/index.ts";

/** The input of that name; throws UsageError where the graph has none. */
export function feedNamed(graph: Graph, name: string): Node {
  const found = graph.inputs.find((n) => isFeed(n) && inputName(n) === name);
  if (found) return found;
  const known = graph.inputs.filter(isFeed).map(inputName);
  throw new UsageError(`model "${graph.name}" has no input "${name}"${didYouMean(name, known)}`);
}
