/** From a graph to what the interpreter evaluates: the readable list of what happens, in order. */

import { UsageError } from "../diagnostics/error.ts";
import { type AnyStage, graphStage, type Pass } from "../driver/index.ts";
import { type Sizes, symbolsOf } from "../ir/dim.ts";
import { bindSizes, type Graph, nodesOf } from "../ir/graph.ts";

/**
 * The pipeline from a graph to the interpreter. No pass is on it: the other pipelines are judged by
 * what the interpreter says of the graph as it was given, and a pass on both would be judged by itself.
 */
export const referenceStages = (sizes: Sizes): readonly AnyStage[] => [
  graphStage(bindTo(sizes)), // the interpreter allocates what it computes: every size a number
];

const bindTo = (sizes: Sizes): Pass => ({
  name: "bind-sizes",
  run: (graph) => {
    const bound = bindSizes(graph, sizes);
    assertBound(bound);
    return bound;
  },
});

function assertBound(graph: Graph): void {
  const open = nodesOf(graph).flatMap((n) => n.type.axes.flatMap((a) => symbolsOf(a.size)))[0];
  if (open === undefined) return;
  throw new UsageError(
    `graph @${graph.name} cannot be evaluated: the size "${open.name}" is no dimension of a feed; give it a number`,
  );
}
