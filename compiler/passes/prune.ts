/** Drops unused parameters and random inputs, and states that nothing reads or replaces. */

import { type Graph, inputName, nodesOf } from "../ir/graph.ts";
import { isFeed } from "../ir/op.ts";

/** Returns the same graph if everything is needed. Fed inputs stay: they are the interface. */
function pruneGraph(graph: Graph): Graph {
  const used = new Set(nodesOf(graph));
  const replaced = new Set(Object.values(graph.updates));
  const inputs = graph.inputs.filter((n) => used.has(n) || isFeed(n) || replaced.has(inputName(n)));
  return inputs.length === graph.inputs.length ? graph : { ...graph, inputs };
}

export const prune = { name: "prune", run: pruneGraph };
