/**
 * Gradient accumulation: gradients and metrics of micro-batches are summed on the device, and one update reads their
 * means.
 */
import {
  isFeed,
  isWeightedMean,
  locationOf,
  type NoCut,
  type Node,
  noSampleMean,
  printLocation,
  type SampleCut,
  sampleCut,
  type TensorType,
  topological,
  UsageError,
  weightsOf,
} from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { add, broadcast, constant, div, gt, mul, select, sizeOf, state, type Tensor, typed } from "../tensor.ts";

/** An output of a graph that is written to a state in the store. */
export interface Stored {
  readonly output: string;
  readonly state: string;
  readonly node: Node;
  /** True if it is written once a step, after the last micro-batch; default with each. */
  readonly oncePerStep?: boolean;
}

/** The gradients and metrics of a micro-batch, or of a whole batch. */
export interface Batch {
  /** One for each arena. */
  readonly gradients: readonly Tensor<"arena">[];
  /** The loss and the metrics. */
  readonly figures: Readonly<Record<string, Tensor<never>>>;
  /** The norm of all gradients, if `gradients` are only a shard of them. */
  readonly norm?: Tensor<never>;
}

/** The gradient of one parameter as a graph output, rather than added to a sum by the graph. */
export interface GivenGradient {
  readonly output: string;
  readonly parameter: string;
  readonly node: Node;
}

/** What the update of a shard reads instead of the sums: its part of each gradient sum, and the norm of all. */
export interface PartOfSums {
  readonly gradients: readonly Tensor<"arena">[];
  readonly norm: Tensor<never>;
}

export interface Accumulation {
  /** The sums that a micro-batch adds to. */
  readonly added: readonly Stored[];
  /** The means over all micro-batches, which the update reads. */
  readonly whole: Batch;
  /** Resets the sums to 0. */
  readonly cleared: readonly Stored[];
  /** The sums in the store, initially 0. */
  readonly sums: readonly Kept[];
  /** Gradients that a micro-batch outputs, for the caller to sum. */
  readonly given: readonly GivenGradient[];
}

/** A tensor that the store keeps between the graphs of a step, initially 0. */
export interface Kept {
  readonly name: string;
  readonly type: TensorType;
}

/**
 * Sums over `count` micro-batches. Each counts equally, or by `weight`, the number that its loss is a mean over: the
 * weighted mean of the means is then the mean over the whole batch.
 */
export function accumulated(
  batch: Batch & { readonly given: readonly GivenGradient[] },
  axes: readonly Axis<"arena">[],
  count: number,
  weight?: Tensor<never>,
  part?: PartOfSums,
): Accumulation {
  const weighed = <A extends string>(x: Tensor<A>): Tensor<A> => (weight ? mul(x, weight) : x) as Tensor<A>;
  const sums = sumsOf(
    {
      gradients: batch.gradients.map(weighed),
      figures: Object.fromEntries(Object.entries(batch.figures).map(([name, x]) => [name, weighed(x)])),
    },
    axes,
    weight,
  );
  const total = weight && typed<never>(sums.at(-1)!.before);
  const divisor: Tensor<never> | number = total ? (select(gt(total, 0), total, 1) as Tensor<never>) : count;
  const means = sums.map((s) => div(s.before, divisor) as Tensor<"arena">);
  const n = batch.gradients.length;
  const figures = Object.keys(batch.figures).map((name, i) => [name, typed<never>(means[n + i]!)] as const);
  const zero = (along: readonly Axis[]) => (along.length === 0 ? constant(0) : broadcast(constant(0), along));
  return {
    added: sums.map(({ output, name, before, next }) => ({ output, state: name, node: add(before, next) })),
    whole: {
      gradients: part ? part.gradients.map((g) => div(g, divisor) as Tensor<"arena">) : means.slice(0, n),
      figures: Object.fromEntries(figures),
      ...(part && { norm: div(part.norm, divisor) as Tensor<never> }),
    },
    cleared: sums.map(({ output, name, axes }) => ({ output: `cleared.${output}`, state: name, node: zero(axes) })),
    sums: sums.map(({ name, before }) => ({ name, type: before.type })),
    given: batch.given.map((g) => ({ ...g, node: weighed(typed<string>(g.node)) })),
  };
}

/** The running sums of gradients, metrics and weight, each with the output that adds to it. */
export function sumsOf({ gradients, figures }: Batch, axes: readonly Axis<"arena">[], weight?: Tensor<never>) {
  return [
    ...gradients.map((next, i) => ({ output: i === 0 ? "gradients" : `gradients.${i}`, axes: [axes[i]!], next })),
    ...Object.entries(figures).map(([output, next]) => ({ output, axes: [], next })),
    ...(weight ? [{ output: "weight", axes: [], next: weight }] : []),
  ].map((sum) => {
    const name = `train.sum.${sum.output}`;
    return { ...sum, name, before: state(name, "f32", sum.axes) as Tensor<"arena"> };
  });
}

/** How micro-batches form a step: how many, and where a loss that compares samples is cut. */
export interface Accumulate {
  readonly count: number;
  readonly cut?: SampleCut;
  /** With `cut`: past it are layers, which run in as many shares as there are micro-batches. */
  readonly inShares?: boolean;
  /** True if the loss is a mean over samples: micro-batches then count equally, whatever `weight` it returns. */
  readonly isAlike?: boolean;
}

/** What is known of a loss besides its graph. */
interface LossFacts {
  /** The weight that it returns. */
  readonly weight: Node | undefined;
  /** Whether inputs refer to other rows of their batch by index. */
  readonly isApart: boolean;
  /** Whether a batch is divided among processes of which each computes one micro-batch. */
  readonly isOneEach: boolean;
  /** Whether micro-batches differ in size. */
  readonly isUneven: boolean;
  /**
   * Buffers that the processes of a step update from all of its samples: the values of samples are then gathered,
   * whether or not the loss compares them.
   */
  readonly gathered?: readonly string[];
}

/**
 * How a step with this loss, which computes all of `told`, can be accumulated. Throws UsageError if the micro-batches
 * would not add up to the loss of the whole batch.
 */
export function accumulateOf(
  { name, accumulate = 1 }: { readonly name: string; readonly accumulate?: number },
  loss: Node,
  told: readonly Node[],
  { weight, isApart, gathered = [], ...among }: LossFacts,
): Accumulate {
  if (!Number.isSafeInteger(accumulate) || accumulate < 1)
    throw new UsageError(`stage "${name}": accumulate must be a positive integer, got ${accumulate}`);
  if (accumulate === 1) return { count: 1 };
  const found = noSampleMean(loss, samples);
  if (gathered.length > 0 && (!found || found.why === "weighs" || found.why === "sums"))
    return gatheredFor(name, accumulate, told, gathered);
  if (!found) return { count: accumulate, isAlike: true };
  const refused = (reason: string) =>
    new UsageError(`stage "${name}": ${among.isOneEach ? "" : `accumulate is ${accumulate}, but `}its loss ${reason}`);
  const place = placeOf(found.node);
  if (found.why === "weighs") {
    if (weight && isWeightedMean(loss, weight, samples)) return { count: accumulate };
    if (weight || weightsOf(loss, samples).length === 0) {
      const cut = cutOf(told, among);
      if ("cut" in cut) return { count: accumulate, ...cut };
      throw refused(
        `is no mean that ${weight ? "the `weight` that it returns" : "one weight"} could average (${place}), and ${uncut(cut, among)}`,
      );
    }
  }
  if (weight && found.why === "mixes" && isApart) return { count: accumulate };
  if (found.why === "mixes") {
    const cut = cutOf(told, among);
    if ("cut" in cut) return { count: accumulate, ...cut };
    throw refused(
      `compares the samples of a batch with one another (${place}), as contrastive losses and batch norm do, and ${uncut(cut, among)}`,
    );
  }
  const reasons = {
    lacks: `reads no input with an axis "${samples}", the batch axis: rename that axis`,
    weighs: `divides a sum over samples (${place}) by a value that depends on them, as means over unmasked tokens do: return that divisor as \`weight\` with the loss`,
    sums: `is a sum over samples (${place}) that is not divided by their number: use the mean`,
  };
  throw refused(reasons[found.why]);
}

/**
 * Where a loss that compares samples is cut. Layers may be past the cut: a process then runs them on its own samples,
 * all at once if they are one micro-batch, otherwise in shares, for which micro-batches need one size.
 */
function cutOf(
  told: readonly Node[],
  { isOneEach, isUneven }: Pick<LossFacts, "isOneEach" | "isUneven">,
): (Pick<Accumulate, "inShares"> & { readonly cut: SampleCut }) | NoCut {
  const cut = sampleCut(told, samples, isOneEach);
  if ("features" in cut) return { cut };
  const withLayers = isOneEach || isUneven ? cut : sampleCut(told, samples, true);
  return "features" in withLayers ? { cut: withLayers, inShares: true } : withLayers;
}

/** The cut of a loss that compares no samples, where buffers are updated from those of all processes. */
function gatheredFor(stage: string, count: number, told: readonly Node[], gathered: readonly string[]): Accumulate {
  const cut = sampleCut(told, samples, true);
  if ("features" in cut) return { count, cut };
  throw new UsageError(
    `stage "${stage}" updates ${gathered.map((b) => `"${b}"`).join(", ")} from the samples of all processes, and ${uncut(cut, { isOneEach: true, isUneven: false })}`,
  );
}

const placeOf = (node: Node): string => `${node.op} at ${printLocation(locationOf(node.birth))}`;

/** Why per-sample features cannot be computed in micro-batches, and what to do. */
function uncut({ why, node }: NoCut, { isOneEach, isUneven }: Pick<LossFacts, "isOneEach" | "isUneven">): string {
  const place = placeOf(node);
  const whole = isOneEach ? "train it with one process" : "leave accumulate at 1";
  const even = isUneven ? ", or start a number of processes that divides the samples of a step" : "";
  const reasons = {
    fixed: `its inputs have a fixed number of samples (${place}): give their axis "${samples}" the size symbol("${samples}")`,
    crosses: `a value of each sample is as long as the batch (${place}), of which a micro-batch has only a part: compute it from each sample alone, or ${whole}${even}`,
    shared: `then reads an input without the axis "${samples}" (${place}): give it that axis`,
    layers: `is followed by layers (${place}) that would have to run on the whole batch at once: ${whole}${even}`,
  };
  return reasons[why];
}

/** The number of samples in a batch, as the weight of a mean over them. */
export function sampleCount(loss: Node): Tensor<never> {
  const axis = topological([loss]).flatMap((n) =>
    isFeed(n) ? (n.type.axes.find((a) => a.name === samples) ?? []) : [],
  );
  return sizeOf(axis[0]!);
}

/** The input axis that is split into micro-batches. */
const samples = "batch";
