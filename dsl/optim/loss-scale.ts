/**
 * Loss scaling: keeps cotangents from underflowing in f16; gradients are unscaled in f32. Micikevicius et al. 2018,
 * arXiv:1710.03740, section 3.2. The scale is a state: the compiler would cancel a constant, and a dynamic scale is
 * updated by the step.
 */
import { type Precision, UsageError } from "../../compiler/index.ts";
import { add, constant, div, ge, lt, max, min, mul, select, state, type Tensor, typed } from "../tensor.ts";
import { trainingState } from "../training-state.ts";
import type { Stored } from "./accumulation.ts";

export const scaledLoss = (loss: Tensor<never>, scale: Tensor<never>): Tensor<never> => mul(loss, scale);

/** Unscales a gradient, before it is measured or clipped. */
export const unscaled = <A extends string>(gradient: Tensor<A>, scale: Tensor<never>): Tensor<A> =>
  mul(gradient, div(1, scale)) as Tensor<A>;

/** Good steps after which the scale is doubled. */
const growthInterval = 2000;

/** The minimum of the scale: below 1 scaling would not help, as an overflow at 1 has another cause. */
const lowestScale = 1;
/** The maximum of the scale. */
const highestScale = 2 ** 24;

/** True if a norm, and so every gradient in it, is finite: comparisons with NaN are false. */
export const isFiniteNorm = (norm: Tensor<never>): Tensor<never> => lt(norm, 3e38) as Tensor<never>;

/**
 * The scale and the count of good steps after a step: halved after a non-finite gradient, doubled after
 * `growthInterval` good steps in a row, as is standard in mixed-precision training.
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

/** The stage fields that determine its loss scale. */
interface ScaledStage {
  readonly name: string;
  readonly precision?: Precision;
  readonly lossScale?: number;
}

/**
 * The state of the scale, an f32 scalar, and its initial value; a dynamic scale also counts good steps, in an i32
 * scalar.
 */
export interface LossScale {
  readonly state: string;
  readonly initial: number;
  readonly goodSteps?: string;
}

/** A dynamic scale after a step, with its metrics. */
export function lossScaleAfter(scale: Tensor<never>, finite: Tensor<never>) {
  const good = typed<never>(state(trainingState.goodSteps, "i32", []));
  const after = adaptedScale(scale, good, finite);
  const stored: Stored[] = [
    { output: "scale_after", state: trainingState.lossScale, node: after.scale },
    { output: "good_steps", state: trainingState.goodSteps, node: after.good },
  ];
  return { figures: { loss_scale: after.scale, skipped: select(finite, 0, constant(1)) as Tensor<never> }, stored };
}

/**
 * The loss scale of a stage; undefined in f32. Throws UsageError for one that is not a power of two, and for one given
 * in f32.
 */
export function lossScaleOf({ name, precision = "f32", lossScale }: ScaledStage): LossScale | undefined {
  if (precision === "f32") {
    if (lossScale === undefined) return undefined;
    throw new UsageError(`stage "${name}": lossScale requires precision "f16"; gradients in f32 need none`);
  }
  const initial = lossScale ?? firstLossScale;
  const goodSteps = lossScale === undefined ? { goodSteps: trainingState.goodSteps } : {};
  if (Number.isInteger(Math.log2(initial)) && Math.abs(Math.log2(initial)) <= 24)
    return { state: trainingState.lossScale, initial, ...goodSteps };
  throw new UsageError(`stage "${name}": lossScale must be a power of two from 2^-24 to 2^24, got ${initial}`);
}

const firstLossScale = 2 ** 10;
