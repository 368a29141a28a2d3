/**
 * Loss scaling: cotangents that f16 would round to 0 are lifted into its range, and gradients brought back in f32.
 * Micikevicius et al. 2018, arXiv:1710.03740, section 3.2. The scale is a state, which the compiler cannot cancel as it
 * could a number, and which a step that adapts it updates.
 */
import { type Precision, UsageError } from "../../compiler/index.ts";
import { add, constant, div, ge, lt, max, min, mul, select, state, type Tensor, typed } from "../tensor.ts";
import { trainingState } from "../training-state.ts";
import type { Stored } from "./accumulation.ts";

export const scaledLoss = (loss: Tensor<never>, scale: Tensor<never>): Tensor<never> => mul(loss, scale);

/** The gradient of the loss itself, before anything measures or clips it. */
export const unscaled = <A extends string>(gradient: Tensor<A>, scale: Tensor<never>): Tensor<A> =>
  mul(gradient, div(1, scale)) as Tensor<A>;

/** Good steps after which the scale is doubled. */
const growthInterval = 2000;

/** What the scale is halved down to: at 1 nothing is lifted, so that what overflows there is no matter of the scale. */
const lowestScale = 1;
/** What it is doubled up to. */
const highestScale = 2 ** 24;

/** True where a norm is a finite number, and so is all that it is of: no comparison with NaN is true. */
export const isFiniteNorm = (norm: Tensor<never>): Tensor<never> => lt(norm, 3e38) as Tensor<never>;

/**
 * The scale and the count of good steps after a step: halved after a gradient that is not finite, doubled after so many
 * good ones in a row, as mixed-precision training does everywhere since that paper.
 */
export function adaptedScale(scale: Tensor<never>, good: Tensor<never>, finite: Tensor<never>) {
  const counted = add(good, 1);
  const isGrown = ge(counted, growthInterval);
  const grown = select(isGrown, min(mul(scale, 2), highestScale), scale);
  return {
    scale: select(finite, grown, max(mul(scale, 0.5), lowestScale)) as Tensor<never>,
    good: select(finite, select(isGrown, 0, counted), 0) as Tensor<never>,
  };
}

/** What of a stage its scale depends on. */
interface ScaledStage {
  readonly name: string;
  readonly precision?: Precision;
  readonly lossScale?: number;
}

/** The scale in the store, an f32 scalar, and what it is at first; one that adapts has a counter of good steps, an i32 scalar. */
export interface LossScale {
  readonly state: string;
  readonly initial: number;
  readonly goodSteps?: string;
}

/** What an adapting scale is after a step, and what is told of it. */
export function lossScaleAfter(scale: Tensor<never>, finite: Tensor<never>) {
  const good = typed<never>(state(trainingState.goodSteps, "i32", []));
  const after = adaptedScale(scale, good, finite);
  const stored: Stored[] = [
    { output: "scale_after", state: trainingState.lossScale, node: after.scale },
    { output: "good_steps", state: trainingState.goodSteps, node: after.good },
  ];
  return { figures: { loss_scale: after.scale, skipped: select(finite, 0, constant(1)) as Tensor<never> }, stored };
}

/** The scale of a stage that computes in f16. Throws UsageError for one that is no power of two, or that nothing asks for. */
export function lossScaleOf({ name, precision = "f32", lossScale }: ScaledStage): LossScale | undefined {
  if (precision === "f32") {
    if (lossScale === undefined) return undefined;
    throw new UsageError(`stage "${name}": a lossScale goes with precision "f16"; in f32 no gradient needs one`);
  }
  const initial = lossScale ?? firstLossScale;
  const goodSteps = lossScale === undefined ? { goodSteps: trainingState.goodSteps } : {};
  if (Number.isInteger(Math.log2(initial)) && Math.abs(Math.log2(initial)) <= 24)
    return { state: trainingState.lossScale, initial, ...goodSteps };
  throw new UsageError(
    `stage "${name}": lossScale is ${initial}; take a power of two from 2^-24 to 2^24, by which dividing is exact`,
  );
}

const firstLossScale = 2 ** 10;
