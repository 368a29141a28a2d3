/** In-memory weights for tests: written in a layout, and read back whole. */
import { type Graph, type HostTensor, inputName, isParameter } from "../../compiler/index.ts";
import type { CheckpointPlace } from "../../dsl/index.ts";
import { openWeights, permute, type tensorsInLayout } from "../../runtime/index.ts";

/** Weights in the form that `tensorsInLayout` takes. */
export const memoryWeights = (weights: ReadonlyMap<string, HostTensor>): Parameters<typeof tensorsInLayout>[1] => ({
  read: async (parameter) => weights.get(parameter)!,
  dtypeOf: () => "F32",
  async *pieces(parameter, order) {
    yield permute(weights.get(parameter)!, order).data;
  },
});

/** All weights of a graph, by parameter name. */
export async function readAllWeights(
  path: string,
  graph: Graph,
  layouts?: readonly (readonly CheckpointPlace[])[],
): Promise<Map<string, HostTensor>> {
  const weights = await openWeights(path, graph, layouts);
  try {
    const all = new Map<string, HostTensor>();
    for (const node of graph.inputs.filter(isParameter)) all.set(inputName(node), await weights.read(inputName(node)));
    return all;
  } finally {
    await weights.dispose();
  }
}
