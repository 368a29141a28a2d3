/** How a stage stores its frozen weights, independent of the precision they are computed in; files have them as f32. */
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

/**
 * How frozen weights may be stored. int8: matrices quantized with a scale for each row; those used in several ways are
 * f16.
 */
export const frozenDtypes = ["f32", "f16", "int8"] as const;
/** One of `frozenDtypes`. */
export type FrozenDType = (typeof frozenDtypes)[number];

/** How a run's store holds frozen weights. */
export interface FrozenWeights {
  readonly dtype: FrozenDType;
  /** Names of those stored as f16. */
  readonly halves: readonly string[];
  readonly quantized: readonly QuantizedParameter[];
}

/** The stage fields that determine how frozen weights are stored. */
interface FreezingStage {
  readonly name: string;
  readonly precision?: Precision;
  readonly frozen?: FrozenDType;
}

/** The storage dtype of frozen weights, by default the stage's precision. Throws UsageError for any other word. */
export function frozenDtype({ name, precision = "f32", frozen = precision }: FreezingStage): FrozenDType {
  if (frozenDtypes.includes(frozen)) return frozen;
  throw new UsageError(
    `stage "${name}": the dtype of frozen weights must be one of ${frozenDtypes.join(", ")}, got "${frozen}"`,
  );
}

/**
 * Rewrites a stage's graph to read frozen weights as they are stored. Must run before differentiation, so that the
 * forward and backward passes read the same values: they contract different axes of a weight, and only one of those is
 * along a scale.
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
