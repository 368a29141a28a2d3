/** Parameter values for commands that need them: from a file where one is given, else drawn from the initializers. */
import type { Graph } from "../compiler/index.ts";
import { type CheckpointPlace, checkpointLayout, covers, type Model } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { drawnWeights, openWeights, type Weights } from "../runtime/index.ts";

export interface ParameterSource extends Weights {
  /** For people: where the values come from. */
  readonly origin: string;
}

/**
 * How checkpoints that others made hold the parameters of a graph, in each form that its model knows; of a graph that comes
 * without a model, in those of the models that heddle has.
 */
export function layoutsOf(graph: Graph, model: Model | undefined): CheckpointPlace[][] {
  const known = (model ? [model] : bundledModels).flatMap((m) => m.checkpoints?.layouts ?? []);
  return known.filter((rules) => covers(rules, graph)).map((rules) => checkpointLayout(graph, rules));
}

/** Opens `file` as the graph's weights; without one, parameters are what their initializers draw for `seed`. */
export async function openParameters(
  graph: Graph,
  model: Model | undefined,
  file: string | undefined,
  seed: number,
): Promise<ParameterSource> {
  if (file !== undefined) return { ...(await openWeights(file, graph, layoutsOf(graph, model))), origin: file };
  const origin = `random values from the initializers, seed ${seed} (give --weights for trained ones)`;
  return { ...drawnWeights(graph, seed), origin };
}
