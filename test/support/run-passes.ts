/** Passes on a graph, as a pipeline of graph stages. */

import { graphStage } from "../../compiler/driver/stage.ts";
import { type Graph, graphForm, type Pass, type RunOptions, runStages } from "../../compiler/index.ts";

/** Runs graph-to-graph passes. */
export const runPasses = (graph: Graph, passes: readonly Pass[], options: RunOptions = {}): Graph =>
  runStages(graph, passes.map(graphStage), graphForm, options);
