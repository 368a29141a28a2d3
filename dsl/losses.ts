/** What a stage minimizes: one loss, or several with weights, each of them reported. */
import { UsageError } from "../compiler/index.ts";
import type { StateUpdate } from "./nn/batch-norm.ts";
import { add, scale, type Tensor } from "./tensor.ts";

interface Reported {
  /** Further scalars to report. */
  readonly metrics?: Readonly<Record<string, Tensor<never>>>;
  /** State that the step keeps besides, such as batch norm's running statistics. */
  readonly updates?: readonly StateUpdate[];
  /**
   * How many samples or tokens the loss, or each of several, is a mean over, where that differs from batch to batch:
   * micro-batches that are accumulated then count by it, and the whole is the mean over all of theirs.
   */
  readonly weight?: Tensor<never>;
  /**
   * True where samples meet within a micro-batch and those of two never do, as rows that find their pictures among all of
   * theirs by number. It needs `weight`; of a loss that compares samples it would be wrong.
   */
  readonly apart?: boolean;
}

export interface OneLoss extends Reported {
  /** What is minimized: a scalar. */
  readonly loss: Tensor<never>;
}

export interface WeightedLoss {
  /** Under which it is reported, as it is without its weight. */
  readonly name: string;
  readonly loss: Tensor<never>;
  /** Default 1. One of weight 0 is reported and not minimized. */
  readonly weight?: number;
}

export interface SeveralLosses extends Reported {
  /** What is minimized is their sum, each times its weight; it is reported as `loss`. */
  readonly losses: readonly WeightedLoss[];
}

export type LossResult = OneLoss | SeveralLosses;

/** Throws UsageError, naming the stage, where two of the things that a step gives have one name. */
export function assertDistinct(stage: string, names: readonly string[]): void {
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice === undefined) return;
  throw new UsageError(
    `stage "${stage}": "${twice}" is given already, by another loss, a metric or the step itself: give it another name`,
  );
}

/**
 * Several losses as one with metrics. Throws UsageError, naming the stage, for a name given twice, a weight that is no
 * finite number, and where nothing is left to minimize.
 */
export function totalLoss(stage: string, result: LossResult): OneLoss {
  const wrong = (text: string) => new UsageError(`stage "${stage}": ${text}`);
  const { losses = [], metrics = {}, ...rest } = { losses: undefined, ...result };
  assertDistinct(stage, ["loss", ...Object.keys(metrics), ...losses.map((l) => l.name)]);
  if (!("losses" in result)) return result;
  const odd = losses.find(({ weight = 1 }) => !Number.isFinite(weight));
  if (odd) throw wrong(`the weight of the loss "${odd.name}" is ${odd.weight}: it is a finite number`);
  const parts = losses.flatMap(({ loss, weight = 1 }) => {
    if (weight === 0) return [];
    return [weight === 1 ? loss : scale(loss, weight)];
  });
  if (parts.length === 0) throw wrong("no loss has a weight other than 0: there is nothing to minimize");
  const reported = Object.fromEntries(losses.map(({ name, loss }) => [name, loss]));
  return { loss: parts.reduce((a, b) => add(a, b)), metrics: { ...reported, ...metrics }, ...rest };
}
