/** What --dtype and --precision ask of a device, and what is taken there, in words. */
import {
  type Graph,
  keepWeightsAs,
  type Precision,
  type PrecisionPath,
  UsageError,
  type WeightDType,
  weightDtypes,
} from "../compiler/index.ts";

/** The value of a --dtype that weights are kept as; throws UsageError for one that there is not. */
export function weightDtype(text: string): WeightDType {
  const dtype = weightDtypes.find((d) => d === text);
  if (!dtype) throw new UsageError(`--dtype is one of ${weightDtypes.join(", ")}, not "${text}"`);
  return dtype;
}

/** What WebGPU computes in for a --dtype: integers are a matter of what weights are kept as. */
export const precisionFor = (dtype: string): Precision => (dtype === "f16" ? "f16" : "f32");

/** "f16 on matrices, because the adapter multiplies matrices of f16 and sums them in f32" */
export const precisionText = ({ path, why }: PrecisionPath): string => `${path}, because ${why}`;

/** The graph with parameters kept as --dtype says. A graph that updates state keeps its own: master weights are f32. */
export const keptAs = (graph: Graph, dtype: WeightDType): Graph =>
  Object.keys(graph.updates).length > 0 ? graph : keepWeightsAs(graph, dtype).graph;
