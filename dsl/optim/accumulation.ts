/** Accumulation: gradients and figures of micro-batches are added up on the device, and one update reads their means. */
import {
  locationOf,
  type Node,
  noSampleMean,
  printLocation,
  type TensorType,
  UsageError,
} from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { add, broadcast, constant, div, gt, mul, select, state, type Tensor, typed } from "../tensor.ts";

/** An output of a graph that becomes a state in the store. */
export interface Stored {
  readonly output: string;
  readonly state: string;
  readonly node: Node;
}

/** What is known of a micro-batch, or of a whole batch. */
export interface Batch {
  /** One for each arena. */
  readonly gradients: readonly Tensor<"arena">[];
  /** The loss and the metrics. */
  readonly figures: Readonly<Record<string, Tensor<never>>>;
}

export interface Accumulation {
  /** What a micro-batch adds to. */
  readonly added: readonly Stored[];
  /** The means over all micro-batches, as the update reads them. */
  readonly whole: Batch;
  /** Sets the sums to 0 again. */
  readonly cleared: readonly Stored[];
  /** The sums in the store, 0 before the first micro-batch. */
  readonly sums: readonly { readonly name: string; readonly type: TensorType }[];
}

/**
 * Sums over `count` micro-batches. Each counts alike, or by `weight`, which is what its loss is a mean over: then the mean
 * of the means is the mean over all.
 */
export function accumulated(
  batch: Batch,
  axes: readonly Axis<"arena">[],
  count: number,
  weight?: Tensor<never>,
): Accumulation {
  const weighed = <A extends string>(x: Tensor<A>): Tensor<A> => (weight ? mul(x, weight) : x) as Tensor<A>;
  const sums = [
    ...batch.gradients.map((g, i) => ({
      output: i === 0 ? "gradients" : `gradients.${i}`,
      axes: [axes[i]!],
      next: weighed(g),
    })),
    ...Object.entries(batch.figures).map(([name, x]) => ({ output: name, axes: [], next: weighed(x) })),
    ...(weight ? [{ output: "weight", axes: [], next: weight }] : []),
  ].map((sum) => {
    const name = `train.sum.${sum.output}`;
    return { ...sum, name, before: state(name, "f32", sum.axes) as Tensor<"arena"> };
  });
  const total = weight && typed<never>(sums.at(-1)!.before);
  const divisor: Tensor<never> | number = total ? (select(gt(total, 0), total, 1) as Tensor<never>) : count;
  const means = sums.map((s) => div(s.before, divisor) as Tensor<"arena">);
  const n = batch.gradients.length;
  const figures = Object.keys(batch.figures).map((name, i) => [name, typed<never>(means[n + i]!)] as const);
  const zero = (along: readonly Axis[]) => (along.length === 0 ? constant(0) : broadcast(constant(0), along));
  return {
    added: sums.map(({ output, name, before, next }) => ({ output, state: name, node: add(before, next) })),
    whole: { gradients: means.slice(0, n), figures: Object.fromEntries(figures) },
    cleared: sums.map(({ output, name, axes }) => ({ output: `cleared.${output}`, state: name, node: zero(axes) })),
    sums: sums.map(({ name, before }) => ({ name, type: before.type })),
  };
}

/** Micro-batches of a step. Throws UsageError where they would not add up to the loss of the whole. */
export function accumulateOf(
  { name, accumulate = 1 }: { readonly name: string; readonly accumulate?: number },
  loss: Node,
  isWeighed: boolean,
): number {
  if (!Number.isSafeInteger(accumulate) || accumulate < 1)
    throw new UsageError(`stage "${name}": accumulate is a whole number, at least 1, not ${accumulate}`);
  if (accumulate === 1) return 1;
  const found = noSampleMean(loss, samples);
  if (!found || (found.why === "weighs" && isWeighed)) return accumulate;
  const place = printLocation(locationOf(found.node.birth));
  const reasons = {
    lacks: `reads no input with an axis "${samples}", along which samples lie: name it so`,
    mixes: `compares the samples of a batch with one another (${found.node.op} at ${place}), as contrastive losses and batch norm do: a micro-batch lacks the others. Leave accumulate at 1`,
    weighs: `divides a sum over samples (${found.node.op} at ${place}) by what depends on them, as means over unmasked tokens do: give that divisor as \`weight\` beside the loss`,
    sums: `is a sum over samples (${found.node.op} at ${place}) that is not divided by their number: take the mean`,
  };
  throw new UsageError(`stage "${name}": accumulate is ${accumulate}, but its loss ${reasons[found.why]}`);
}

/** The axis of inputs that a batch is divided along. */
const samples = "batch";
