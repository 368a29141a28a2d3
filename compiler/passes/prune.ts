/** Drops what no output needs: parameters and random inputs without users, and states that nothing reads or replaces. */

import { type Graph, inputName, nodesOf } from "../ir/graph.ts";
import { isFeed } from "../ir/op.ts";

/** The graph itself where everything is needed. Fed inputs stay: they are the interface. */
function pruneGraph(graph: Graph): Graph {
  const used = new Set(nodesOf(graph));
  const replaced = new Set(Object.values(graph.updates));
  const inputs = graph.inputs.filter((n) => used.has(n) || isFeed(n) || replaced.has(inputName(n)));
  return inputs.length === graph.inputs.length ? graph : { ...graph, inputs };
}

export const prune = { name: "prune", run: pruneGraph };
