/** The options --dtype and --precision, and the resulting path in words. */
import {
  type Graph,
  keepWeightsAs,
  type Precision,
  type PrecisionPath,
  UsageError,
  type WeightDType,
  weightDtypes,
} from "../compiler/index.ts";

/** The storage dtype of --dtype. Throws UsageError for an unknown one. */
export function weightDtype(text: string): WeightDType {
  const dtype = weightDtypes.find((d) => d === text);
  if (!dtype) throw new UsageError(`--dtype must be one of ${weightDtypes.join(", ")}; got "${text}"`);
  return dtype;
}

/** WebGPU's precision for a --dtype: integers only affect how weights are stored. */
export const precisionFor = (dtype: string): Precision => (dtype === "f16" ? "f16" : "f32");

/** "f16 on matrices, because the adapter multiplies matrices of f16 and sums them in f32" */
export const precisionText = ({ path, why }: PrecisionPath): string => `${path}, because ${why}`;

/** The graph with parameters stored in --dtype. A graph that updates state is unchanged: master weights are f32. */
export const keptAs = (graph: Graph, dtype: WeightDType): Graph =>
  Object.keys(graph.updates).length > 0 ? graph : keepWeightsAs(graph, dtype).graph;
