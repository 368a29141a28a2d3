/** What a stage minimizes: one loss, or several with weights, each of them reported. */
import { didYouMean, nearest, UsageError } from "../compiler/index.ts";
import { isPlain, isTensor, kindOfValue } from "./declared.ts";
import type { StateUpdate } from "./nn/buffer.ts";
import { type AnyTensor, add, scale, type Tensor } from "./tensor.ts";

interface Reported {
  /** Further scalars to report. */
  readonly metrics?: Readonly<Record<string, Tensor<never>>>;
  /** Buffers that the step updates, such as the running statistics of `batchNorm` and the weights of `emaTeacher`. */
  readonly updates?: readonly StateUpdate[];
  /**
   * The number of samples or tokens that the loss (or each of several) is a mean over, if that varies between batches:
   * accumulated micro-batches are then averaged with these weights, which gives the mean over the whole batch.
   */
  readonly weight?: Tensor<never>;
  /**
   * True if the loss relates samples within a micro-batch but never across two, such as rows that refer to the batch's
   * images by index. Requires `weight`; wrong for a contrastive loss.
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
  /** The name under which its unweighted value is reported. */
  readonly name: string;
  readonly loss: Tensor<never>;
  /** Default 1. A loss of weight 0 is reported but not minimized; parameters that only it depends on are frozen. */
  readonly weight?: number;
}

/** Several losses, each with a name and a weight. */
export interface SeveralLosses extends Reported {
  /** Their weighted sum is minimized and reported as `loss`. */
  readonly losses: readonly WeightedLoss[];
}

/** What a stage's loss returns: one loss or several, with metrics and state updates. */
export type LossResult = OneLoss | SeveralLosses;

/** Throws UsageError, naming the stage, if two outputs of a step have the same name. */
export function assertDistinct(stage: string, names: readonly string[]): void {
  const twice = names.find((n, i) => names.indexOf(n) !== i);
  if (twice === undefined) return;
  throw new UsageError(
    `stage "${stage}": "${twice}" is already used by another loss, a metric or the step itself: choose another name`,
  );
}

/** The fault in what a loss returns; undefined for a valid record. */
export function lossFault(result: unknown): string | undefined {
  if (!isPlain(result))
    return `its loss returns ${kindOfValue(result)}; expected { loss: scalar } or { losses: [{ name, loss }] }`;
  // Extra fields are allowed, such as a logit scale that other code reads; one that nearly matches a known name is a
  // typo.
  const misspelt = Object.keys(result).find((key) => !lossFields.includes(key) && nearest(key, lossFields).length > 0);
  if (misspelt !== undefined)
    return `what its loss returns has no field "${misspelt}"${didYouMean(misspelt, lossFields)}`;
  const unfit = scalarFault("weight", result.weight) ?? metricsFault(result.metrics);
  if (unfit !== undefined) return unfit;
  if (result.losses !== undefined)
    return Array.isArray(result.losses)
      ? undefined
      : `the \`losses\` that it returns must be a list of { name, loss, weight }, got ${kindOfValue(result.losses)}`;
  if (!isTensor(result.loss)) return `the \`loss\` that it returns must be a tensor, got ${kindOfValue(result.loss)}`;
  const axes = (result.loss as AnyTensor).type.axes.map((a) => a.name);
  const over = axes.join(", ");
  return axes.length === 0
    ? undefined
    : `its \`loss\` has the axes [${over}]; expected a scalar: mean(loss, [${over}])`;
}

function metricsFault(metrics: unknown): string | undefined {
  if (metrics === undefined) return undefined;
  if (!isPlain(metrics)) return `the \`metrics\` that it returns must be scalars by name, got ${kindOfValue(metrics)}`;
  if (Object.hasOwn(metrics, "")) return "a metric has an empty name";
  return Object.entries(metrics)
    .map(([name, value]) => scalarFault(`metric "${name}"`, value ?? null))
    .find((fault) => fault !== undefined);
}

/** What is wrong with a figure beside the loss; undefined if nothing is, or if there is none. */
function scalarFault(what: string, value: unknown): string | undefined {
  if (value === undefined) return undefined;
  if (!isTensor(value)) return `its ${what} must be a scalar tensor, got ${kindOfValue(value)}`;
  const axes = (value as AnyTensor).type.axes.map((a) => a.name).join(", ");
  return axes === "" ? undefined : `its ${what} has the axes [${axes}]; expected a scalar: mean(x, [${axes}])`;
}

const lossFields = ["loss", "losses", "metrics", "updates", "weight", "apart"];

/**
 * Reduces several losses to one with metrics. Throws UsageError, naming the stage, for a duplicate name, the name of
 * a run's own figures, a weight that is not finite, and if every weight is 0.
 */
export function totalLoss(stage: string, result: LossResult): OneLoss {
  const wrong = (text: string) => new UsageError(`stage "${stage}": ${text}`);
  const stray = lossFault(result);
  if (stray !== undefined) throw wrong(stray);
  const { losses = [], metrics = {}, ...rest } = { losses: undefined, ...result };
  const names = [...Object.keys(metrics), ...losses.map((l) => l.name)];
  assertDistinct(stage, ["loss", ...names]);
  const reserved = names.find((name) => name === "seconds" || name.startsWith("validation/"));
  if (reserved !== undefined)
    throw wrong(`a run's metrics.jsonl has "${reserved}" for its own figures: choose another name for the metric`);
  if (!("losses" in result)) return result;
  const odd = losses.find(({ weight = 1 }) => !Number.isFinite(weight));
  if (odd) throw wrong(`the weight of the loss "${odd.name}" must be a finite number, got ${kindOfValue(odd.weight)}`);
  const parts = losses.flatMap(({ loss, weight = 1 }) => {
    if (weight === 0) return [];
    return [weight === 1 ? loss : scale(loss, weight)];
  });
  if (parts.length === 0) throw wrong("all losses have the weight 0: there is nothing to minimize");
  const reported = Object.fromEntries(losses.map(({ name, loss }) => [name, loss]));
  return { loss: parts.reduce((a, b) => add(a, b)), metrics: { ...reported, ...metrics }, ...rest };
}
