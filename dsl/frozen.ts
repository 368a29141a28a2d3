/** What a stage keeps its frozen weights as, apart from the f32 that they are computed with and written as. */
import {
  inputName,
  isParameter,
  keepWeightsAs,
  makeGraph,
  type Node,
  type Precision,
  type QuantizedParameter,
  UsageError,
} from "../compiler/index.ts";

/** int8: matrices as integers with a scale for each row, and those that are used in several ways as f16. */
export const frozenDtypes = ["f32", "f16", "int8"] as const;
/** What weights that are not learned may be kept as. */
export type FrozenDType = (typeof frozenDtypes)[number];

/** How the store of a run holds frozen weights. */
export interface FrozenWeights {
  readonly dtype: FrozenDType;
  /** Names of those that are f16. */
  readonly halves: readonly string[];
  readonly quantized: readonly QuantizedParameter[];
}

/** What of a stage its frozen weights depend on. */
interface FreezingStage {
  readonly name: string;
  readonly precision?: Precision;
  readonly frozen?: FrozenDType;
}

/** By default as what is computed in. Throws UsageError for another word. */
export function frozenDtype({ name, precision = "f32", frozen = precision }: FreezingStage): FrozenDType {
  if (frozenDtypes.includes(frozen)) return frozen;
  throw new UsageError(
    `stage "${name}": frozen weights are kept as one of ${frozenDtypes.join(", ")}, not "${frozen}"`,
  );
}

/**
 * What a stage computes, from frozen weights as they are kept. Forward and backward passes read the same value of a weight,
 * so this comes before the loss is differentiated: the two sum over different axes of it, and only one is along a scale.
 */
export function withFrozen<N extends Node>(
  roots: readonly N[],
  frozen: readonly Node[],
  dtype: FrozenDType,
): { readonly roots: N[]; readonly weights: FrozenWeights } {
  const outputs = roots.map((node, i) => ({ name: `root.${i}`, node }));
  const names = new Set(frozen.map(inputName));
  const { graph, quantized } = keepWeightsAs(makeGraph("frozen", outputs), dtype, (n) => names.has(inputName(n)));
  const halves = graph.inputs.filter((n) => isParameter(n) && n.type.dtype === "f16" && names.has(inputName(n)));
  return {
    roots: graph.outputs.map((o) => o.node as N),
    weights: { dtype, halves: halves.map(inputName), quantized },
  };
}
