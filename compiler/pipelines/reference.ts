/** The pipeline from a graph to the reference interpreter. */

import { UsageError } from "../diagnostics/error.ts";
import { type AnyStage, graphStage, type Pass } from "../driver/index.ts";
import { type Sizes, symbolsOf } from "../ir/dim.ts";
import { bindSizes, type Graph, nodesOf } from "../ir/graph.ts";

/**
 * The pipeline from a graph to the interpreter. It runs no optimization passes: the interpreter is the oracle that the
 * other pipelines are tested against, and a bug in a shared pass would go unnoticed.
 */
export const referenceStages = (sizes: Sizes): readonly AnyStage[] => [
  graphStage(bindTo(sizes)), // the interpreter allocates every value, so every size must be a number
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
