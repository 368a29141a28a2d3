/**
 * Gradient caching (GradCache): accumulation for a loss that compares samples. Each micro-batch is computed twice:
 * first its features, which are cached for the whole batch; then, from the loss's cotangents of all features, its
 * gradients. Only the features ever exist for the whole batch at once. Gao et al. 2021, arXiv:2101.06983, section 3.
 */
import {
  bindDim,
  bindSizes,
  type Dim,
  type DType,
  differentiate,
  isParameter,
  makeGraph,
  mulDims,
  type Node,
  ops,
  rewriteNodes,
  type SampleCut,
  type SampleParts,
  sampleShares,
  symbol,
  topological,
} from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { add, constant, gt, lt, select, sizeOf, state, type Tensor, typed } from "../tensor.ts";
import { type Accumulation, type GivenGradient, type PartOfSums, type Stored, sumsOf } from "./accumulation.ts";
import type { InArenas, Traced } from "./batch-gradient.ts";
import type { SharedState } from "./shared-state.ts";

/** The micro-batches of a step that one process computes. */
export interface OwnBatches {
  readonly first: number;
  readonly count: number;
}

/** The samples of a step whose micro-batches differ in size, and those that one process computes: [from, to). */
export interface OwnSamples {
  readonly all: number;
  readonly from: number;
  readonly to: number;
}

/** What one of several processes computes of a step; with `uneven`, micro-batches differ in size. */
export interface OwnPart {
  readonly own: OwnBatches;
  readonly uneven?: OwnSamples;
}

/** How a step whose loss is cut is computed. */
interface Among {
  /** Micro-batches over all processes. */
  readonly count: number;
  /** Whether each run of `middle` computes the loss of one micro-batch's samples; default once, of all. */
  readonly inShares: boolean;
  readonly shared: OwnPart | undefined;
  readonly part: PartOfSums | undefined;
}

export interface CachedAccumulation extends Accumulation {
  /** Caches the features of a micro-batch. */
  readonly features: readonly Stored[];
  /** From all features: the metrics, the cotangent of each feature, and the gradients past the cut. */
  readonly middle: readonly Stored[];
  /**
   * Buffers, from all features: for the update, since the micro-batches after `middle` compute their features again,
   * which may read them.
   */
  readonly kept: readonly Stored[];
  /** Gradients past the cut that `middle` outputs. */
  readonly givenByMiddle: readonly GivenGradient[];
  readonly shared: SharedState;
}

/**
 * A step of `count` micro-batches whose loss is cut. Processes that share them each compute their part of the loss:
 * their rows and columns of the similarity matrix.
 */
export function cachedAccumulation(
  cut: SampleCut,
  { count, inShares, shared, part }: Among,
  traced: Traced,
  arenas: InArenas,
): CachedAccumulation {
  const whole = wholeBatch(cut, count, shared);
  const kept = cut.features.map(({ node, axis }, i) =>
    keptFeature(node, axis, { i, samples: cut.samples, whole, trained: new Set(traced.trained) }),
  );
  const learned = kept.filter((k) => k.isLearned);
  const done = typed<never>(state(samplesDone, "i32", []));
  const counter = { output: "samples_done", state: samplesDone };
  const counted: Stored = { ...counter, node: add(done, sizeOf(symbol(cut.samples), "i32")) };
  /** The process's first sample among all of the step's. */
  const first = typed<never>(state(firstSample, "i32", []));
  const place = shared ? add(done, first) : done;
  const shares = inShares ? sharesByRun(cut.samples, shared && first) : undefined;
  /** Values that every process or share computes identically are added to the sums by the first only. */
  const once = (x: Node): Node => select(lt(shares?.place ?? first, 1), typed(x), 0);
  const own = shares ? { first: shares.place, count: 1 } : shared?.own;
  const past = pastCut(traced, kept, arenas, whole, (roots) =>
    shareOf(roots, cut.samples, count, own && { own, uneven: shared?.uneven }, once),
  );
  const sums = sumsOf(past, arenas.axes);
  const slopes = arenas.viewed(slopesOf(learned, place, traced.trained));
  const gradients = arenas.packed(slopes);
  const figures = Object.keys(past.figures).map((name, i) => [name, typed<never>(sums[gradients.length + i]!.before)]);
  const compared: Stored[] = [
    ...sums.map((s) => ({ output: s.output, state: s.name, node: s.next })),
    ...learned.map(({ cotangent: c }, i) => ({ output: c.output, state: c.state, node: past.cotangents[i]! })),
  ];
  return {
    features: [...keepAll(kept, place, arenas), counted],
    middle: [...(shares?.added(compared) ?? compared), { ...counter, node: constant(0, "i32") }],
    added: [
      ...gradients.map((g, i) => ({ output: sums[i]!.output, state: sums[i]!.name, node: add(sums[i]!.before, g) })),
      counted,
    ],
    whole: {
      gradients: part?.gradients ?? gradients.map((_, i) => sums[i]!.before),
      figures: Object.fromEntries(figures),
      ...(part && { norm: part.norm }),
    },
    kept: past.kept,
    cleared: [
      { ...counter, output: "cleared.samples_done", node: constant(0, "i32") },
      ...(shares ? [shares.cleared] : []),
    ],
    sums: [
      ...sums.map(({ name, before }) => ({ name, type: before.type })),
      ...kept.map((k) => ({ name: k.state, type: k.all.type })),
      ...learned.map((k) => ({ name: k.cotangent.state, type: k.cotangent.all.type })),
      { name: samplesDone, type: done.type },
      ...(shares ? [shares.kept] : []),
      ...(shared ? [{ name: firstSample, type: first.type }] : []),
    ],
    shared: {
      added: sums.map((s) => s.name),
      gathered: kept.map((k) => ({ state: k.state, axis: k.axis.name })),
      addedByRows: learned.map((k) => ({ state: k.cotangent.state, axis: k.axis.name })),
      first: firstSample,
    },
    given: arenas.given(slopes),
    givenByMiddle: past.given,
  };
}

type BoundSizes = Readonly<Record<string, Dim>>;

/** Binds the batch size of a micro-batch graph to that of the whole batch: a number if micro-batches differ in size. */
const wholeBatch = ({ samples }: SampleCut, count: number, shared?: OwnPart): BoundSizes => ({
  [samples]: shared?.uneven?.all ?? mulDims(count, symbol(samples)),
});

/**
 * Shares of the loss, one for each run of `middle`: the place of a run's first sample among those of the step, and sums
 * over the runs, of which the first overwrites what the last step left.
 */
function sharesByRun(samples: string, first: Tensor<never> | undefined) {
  const done = typed<never>(state(samplesCompared, "i32", []));
  const counter = { state: samplesCompared, output: "samples_compared" };
  const addedTo = (before: Node, next: Node): Node => ops.add(next, select(gt(done, 0), typed(before), 0));
  return {
    place: first ? add(done, first) : done,
    added: (values: readonly Stored[]): Stored[] => [
      ...values.map((s) => ({ ...s, node: addedTo(state(s.state, "f32", s.node.type.axes), s.node) })),
      { ...counter, node: add(done, sizeOf(symbol(samples), "i32")) },
    ],
    cleared: { ...counter, output: "cleared.samples_compared", node: constant(0, "i32") } satisfies Stored,
    kept: { name: samplesCompared, type: done.type },
  };
}

/** Values of the whole batch; of several processes or shares, this one's share of each. */
function shareOf(
  roots: readonly Node[],
  samples: string,
  count: number,
  shared: { readonly own: Pick<SampleParts, "first" | "count">; readonly uneven: OwnSamples | undefined } | undefined,
  once: (whole: Node) => Node,
): Node[] {
  const inUnits = (units: number) => inSizesOf(roots, { [samples]: mulDims(units, symbol(samples)) });
  if (!shared) return inUnits(count);
  const { own, uneven } = shared;
  if (!uneven) return sampleShares(inUnits(count), { samples, all: count, ...own }, once);
  const { all, from, to } = uneven;
  const shares = sampleShares(inUnits(all), { samples, all, first: from, count: to - from }, once);
  return inSizesOf(shares, { [samples]: 1 }); // a unit is one sample
}

/** The state that counts the samples of this process's micro-batches in a pass. */
const samplesDone = "train.samples_done";
/** The state that counts the samples whose share of the loss this process has computed. */
const samplesCompared = "train.samples_compared";
/** The state with the index of a process's first sample. */
const firstSample = "train.first_sample";

/** A per-sample feature, and the tensors in the store that hold it and its cotangent. */
interface KeptFeature {
  readonly node: Node;
  readonly axis: Axis;
  /** The number of its rows for one sample. */
  readonly each: Dim;
  readonly output: string;
  readonly state: string;
  /** The feature of one micro-batch, in its stored dtype. */
  readonly value: Node;
  /**
   * The stored feature of all samples: with sizes in terms of a micro-batch, and with the node's own, for graphs over
   * the whole batch.
   */
  readonly all: Node;
  readonly own: Node;
  /** Whether it depends on a trained parameter. */
  readonly isLearned: boolean;
  readonly cotangent: { readonly output: string; readonly state: string; readonly all: Node };
}

/** The dtype in which each is stored: all executors support states of these. */
const keptAs: Readonly<Record<DType, DType>> = { f32: "f32", f16: "f32", i32: "i32", u32: "u32", bool: "i32" };

function keptFeature(
  node: Node,
  axis: Axis,
  { i, samples, whole, trained }: { i: number; samples: string; whole: BoundSizes; trained: ReadonlySet<Node> },
): KeptFeature {
  const dtype = keptAs[node.type.dtype];
  const stateName = `train.feature.${i}`;
  const cotangent = { output: `cotangent.${i}`, state: `train.cotangent.${i}` };
  const wholeAxes = node.type.axes.map(({ name, size }) => ({ name, size: bindDim(size, whole) }));
  return {
    node,
    axis,
    each: bindDim(axis.size, { [samples]: 1 }),
    output: `feature.${i}`,
    state: stateName,
    value: ops.cast(node, dtype),
    all: state(stateName, dtype, wholeAxes),
    own: state(stateName, dtype, node.type.axes),
    isLearned: dtype === "f32" && topological([node]).some((n) => trained.has(n)),
    cotangent: { ...cotangent, all: state(cotangent.state, "f32", wholeAxes) },
  };
}

/** The row of a sample in the stored feature of all samples. */
const rowOf = (sample: Node, { each }: KeptFeature): Node =>
  each === 1 ? sample : ops.mul(sample, ops.sizeOf(each, "i32"));

/** Writes a micro-batch's features, of which `first` is the first sample, into those of the whole batch. */
function keepAll(kept: readonly KeptFeature[], first: Node, { viewed }: InArenas): Stored[] {
  const values = viewed(kept.map((k) => k.value));
  return kept.map((k, i) => ({
    output: k.output,
    state: k.state,
    node: ops.overwrite(k.all, values[i]!, rowOf(first, k), k.axis.name),
  }));
}

/** The same nodes with symbolic sizes bound. */
const inSizesOf = (roots: readonly Node[], sizes: BoundSizes): Node[] =>
  bindSizes(
    makeGraph(
      "past",
      roots.map((node, i) => ({ name: `${i}`, node })),
    ),
    sizes,
  ).outputs.map((o) => o.node);

/**
 * Differentiates the loss with respect to the features of all samples and to parameters used past the cut; `shared`
 * turns the loss and the metrics into a process's share of them. Every process computes what the step keeps, such as
 * running statistics, from the whole batch.
 */
function pastCut(
  traced: Traced,
  kept: readonly KeptFeature[],
  { viewed, packed, given }: InArenas,
  whole: BoundSizes,
  shared: (roots: readonly Node[]) => Node[],
) {
  const features = new Map(kept.map((k) => [k.node, ops.cast(k.own, k.node.type.dtype)]));
  const names = Object.keys(traced.figures);
  const scalars = [traced.loss, ...Object.values(traced.figures)];
  const states = traced.kept.map((k) => k.node);
  const moved = rewriteNodes([...scalars, ...states], (node, original) => features.get(original) ?? node);
  const [loss, ...figures] = shared(scalars.map((n) => moved.get(n)!));
  const told = [
    ...figures,
    ...inSizesOf(
      states.map((n) => moved.get(n)!),
      whole,
    ),
  ];
  const reached = new Set(topological([loss!]).filter(isParameter));
  const direct = traced.trained.filter((n) => reached.has(n));
  const learned = kept.filter((k) => k.isLearned);
  const slopes = differentiate(loss!, [...learned.map((k) => k.all), ...direct]);
  const seen = viewed([...told, ...slopes]);
  const cotangents = seen.slice(told.length, told.length + learned.length);
  const reachedBy = new Map(direct.map((n, i) => [n, seen[told.length + learned.length + i]!]));
  const gradients = traced.trained.map((n) => reachedBy.get(n));
  return {
    figures: Object.fromEntries(names.map((name, i) => [name, typed<never>(seen[i]!)])),
    kept: traced.kept.map((k, i): Stored => ({ ...k, node: seen[names.length + i]! })),
    cotangents,
    gradients: packed(gradients),
    given: given(gradients),
  };
}

/** Backpropagates the stored cotangents of the micro-batch that begins with a sample to the trained parameters. */
function slopesOf(learned: readonly KeptFeature[], first: Node, trained: readonly Node[]): Node[] {
  const parts = learned.map((k) => {
    const cotangent = ops.dynamicSlice(k.cotangent.all, k.axis.name, rowOf(first, k), k.axis.size);
    const names = k.node.type.axes.map((a) => a.name);
    return ops.reduceSum(ops.mul(k.value, cotangent), names);
  });
  return differentiate(
    parts.reduce((a, b) => ops.add(a, b), ops.constant(0)),
    trained,
  );
}
