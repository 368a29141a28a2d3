/** What a stage minimizes: one loss, or several with weights, each of them reported. */
import { didYouMean, nearest, UsageError } from "../compiler/index.ts";
import { isPlain, isTensor, kindOfValue } from "./declared.ts";
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

/** One loss: a float scalar. */
export interface OneLoss extends Reported {
  /** What is minimized: a scalar. */
  readonly loss: Tensor<never>;
}

/** One of several losses. */
export interface WeightedLoss {
  /** Under which it is reported, as it is without its weight. */
  readonly name: string;
  readonly loss: Tensor<never>;
  /** Default 1. One of weight 0 is reported and not minimized. */
  readonly weight?: number;
}

/** Several losses, each with a name and a weight. */
export interface SeveralLosses extends Reported {
  /** What is minimized is their sum, each times its weight; it is reported as `loss`. */
  readonly losses: readonly WeightedLoss[];
}

/** What a stage's loss returns: one loss or several, with metrics and what else the step keeps. */
export type LossResult = OneLoss | SeveralLosses;

/** Throws UsageError, naming the stage, where two of the things that a step gives have one name. */
export function assertDistinct(stage: string, names: readonly string[]): void {
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice === undefined) return;
  throw new UsageError(
    `stage "${stage}": "${twice}" is given already, by another loss, a metric or the step itself: give it another name`,
  );
}

/** What a loss gives that it must not; undefined where it is a record with tensors in it. */
export function lossFault(result: unknown): string | undefined {
  if (!isPlain(result))
    return `its loss gives ${kindOfValue(result)}; it returns a record: { loss: scalar } or { losses: [{ name, loss }] }`;
  // What serves others as well may give more, as a tower's scale; a name that is nearly one of these is misspelt.
  const misspelt = Object.keys(result).find((key) => !lossFields.includes(key) && nearest(key, lossFields).length > 0);
  if (misspelt !== undefined)
    return `what its loss returns has no field "${misspelt}"${didYouMean(misspelt, lossFields)}`;
  if (result.losses !== undefined) return undefined;
  return isTensor(result.loss)
    ? undefined
    : `its loss gives as \`loss\` ${kindOfValue(result.loss)}, which is no tensor`;
}

const lossFields = ["loss", "losses", "metrics", "updates", "weight", "apart"];

/**
 * Several losses as one with metrics. Throws UsageError, naming the stage, for a name given twice, a weight that is no
 * finite number, and where nothing is left to minimize.
 */
export function totalLoss(stage: string, result: LossResult): OneLoss {
  const wrong = (text: string) => new UsageError(`stage "${stage}": ${text}`);
  const stray = lossFault(result);
  if (stray !== undefined) throw wrong(stray);
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
