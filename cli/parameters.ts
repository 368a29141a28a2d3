/** Parameter values for commands that need them: from a file where one is given, else drawn from the initializers. */
import type { Graph } from "../compiler/index.ts";
import { publishedLayout } from "../models/index.ts";
import { drawnWeights, openWeights, type Weights } from "../runtime/index.ts";

export interface ParameterSource extends Weights {
  /** For people: where the values come from. */
  readonly origin: string;
}

/** Opens `file` as the graph's weights; without one, parameters are what their initializers draw for `seed`. */
export async function openParameters(graph: Graph, file: string | undefined, seed: number): Promise<ParameterSource> {
  if (file !== undefined) return { ...(await openWeights(file, graph, publishedLayout(graph))), origin: file };
  const origin = `random values from the initializers, seed ${seed} (give --weights for trained ones)`;
  return { ...drawnWeights(graph, seed), origin };
}
