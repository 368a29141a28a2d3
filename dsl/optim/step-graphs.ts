/** The graphs of a training step: one, or with accumulation one for each kind of run. */
import {
  type Graph,
  inputName,
  isState,
  makeGraph,
  type Node,
  type SampleCut,
  topological,
} from "../../compiler/index.ts";
import { assertDistinct } from "../losses.ts";
import type { Stage } from "../stage.ts";
import { state, type Tensor } from "../tensor.ts";
import {
  type Accumulation,
  accumulated,
  accumulateOf,
  type Batch,
  type GivenGradient,
  type Stored,
  sampleCount,
} from "./accumulation.ts";
import { type InArenas, type OneBatch, oneBatch, type Traced } from "./batch-gradient.ts";
import { cachedAccumulation } from "./gradient-cache.ts";
import { keptWhen, requireWhole, withMicroBatches } from "./kept-buffers.ts";
import type { Parts, Shards } from "./parts.ts";
import type { SharedState } from "./shared-state.ts";
import type { StepUpdate } from "./step-update.ts";

/** A traced step, from which its graphs are made. */
export interface TracedStep {
  readonly stage: Stage;
  /** Whether a step reads one batch, which processes may divide. */
  readonly isOneBatch: boolean;
  readonly traced: Traced;
  readonly arenas: InArenas;
  /** What micro-batches are averaged by. */
  readonly weight: Node | undefined;
  readonly parts: Parts | undefined;
  readonly shards: Shards | undefined;
}

/** The graphs of one step, and of the update that ends an accumulation. */
export interface StepGraphs {
  readonly graph: Graph;
  readonly accumulation?: AccumulationGraphs;
}

/** With accumulation: the micro-batches per step, the update graph, and the sums between, which start at 0. */
export interface AccumulationGraphs {
  readonly count: number;
  /** Reads the sums and resets them to 0; has the outputs and updates that `graph` has without accumulation. */
  readonly update: Graph;
  readonly sums: Accumulation["sums"];
  /**
   * If the loss compares samples: `features` caches the features of each micro-batch; `middle`, run once after the
   * last, or with `inShares` once for each, computes metrics and the cotangent of each feature. Then `graph` runs on
   * each micro-batch.
   */
  readonly cached?: { readonly features: Graph; readonly middle: Graph; readonly inShares?: boolean };
  /** Run before `update`: this process's terms of the sums over whole parameters, `shared.shard.sums`. */
  readonly terms?: Graph;
  /** For data parallelism: what processes all-reduce, and what they gather. */
  readonly shared?: SharedState;
}

/** The gradients and metrics that an update reads, and the graphs of a step with that update. */
interface BatchGraphs {
  readonly whole: Batch;
  readonly graphs: (update: StepUpdate) => StepGraphs;
}

/** A traced step, and when its buffers are written. */
interface Timed extends TracedStep {
  readonly count: number;
  /** The states that are written once, at the end of a step. */
  readonly ended: readonly Stored[];
  readonly withEach: readonly Stored[];
}

export function batchGraphs(of: TracedStep): BatchGraphs {
  const { stage, isOneBatch, traced, arenas, weight, parts } = of;
  const [atEnd, withEach] = keptWhen(stage.name, traced.kept, isOneBatch, parts);
  const told = [...Object.values(traced.figures), ...withEach.map((k) => k.node)];
  const { count, cut, inShares, isAlike } = accumulateOf(stage, told[0]!, told, {
    weight,
    isApart: traced.apart === true,
    isOneEach: parts !== undefined && isOneBatch,
    isUneven: parts?.uneven !== undefined,
    ...(parts && isOneBatch && withEach.length > 0 && { gathered: withEach.map((k) => k.state) }),
  });
  const ended = arenas.viewed(atEnd.map((k) => k.node)).map((node, i): Stored => ({ ...atEnd[i]!, node }));
  const timed: Timed = { ...of, count, ended, withEach };
  if (cut) return cachedGraphs(timed, cut, inShares === true);
  if (parts && withEach.length > 0) throw withMicroBatches(stage.name, withEach);
  const batch = oneBatch({ ...traced, kept: withEach }, arenas, weight);
  if (count === 1) return oneGraph(timed, batch);
  const weighedBy = (isAlike ? undefined : batch.weight) ?? (parts?.uneven ? sampleCount(told[0]!) : undefined);
  return summedGraphs(timed, batch, weighedBy);
}

/** A step of one batch. */
const oneGraph = ({ stage, ended }: Timed, { kept, ...whole }: OneBatch): BatchGraphs => ({
  whole,
  graphs: ({ figures, stored }) => ({ graph: graphOf(stage.name, figures, [...stored, ...ended, ...kept]) }),
});

/** A step of several micro-batches, whose gradients are summed. */
function summedGraphs(of: Timed, { kept, ...batch }: OneBatch, weighedBy: Tensor<never> | undefined): BatchGraphs {
  const { stage, arenas, count, parts, shards } = of;
  const made = accumulated(batch, arenas.axes, count, weighedBy, shards?.part);
  const shared = (): SharedState => ({
    added: made.sums.map((s) => s.name),
    gathered: [],
    ...shardedState(shards, made.sums, made.given),
  });
  return {
    whole: made.whole,
    graphs: (update) => ({
      graph: graphOf(stage.name, outputsOf(made.given), [...made.added, ...kept]),
      accumulation: { ...ending(of, made, update), ...(parts && { shared: shared() }) },
    }),
  };
}

/** A step of several micro-batches whose loss compares samples of all: their features are cached. */
function cachedGraphs(of: Timed, cut: SampleCut, inShares: boolean): BatchGraphs {
  const { stage, traced, arenas, count, withEach, parts, shards } = of;
  const { name } = stage;
  const among = { count, inShares, shared: parts, part: shards?.part };
  const made = cachedAccumulation(cut, among, { ...traced, kept: withEach }, arenas);
  requireWhole(name, made.kept, parts?.divided);
  const middle = graphOf(name, outputsOf(made.givenByMiddle), made.middle, `${name}-middle`);
  const features = graphOf(name, [], made.features, `${name}-features`);
  const cached = { features, middle, ...(inShares && { inShares }) };
  const given = [...made.given, ...made.givenByMiddle];
  return {
    whole: made.whole,
    graphs: (update) => ({
      graph: graphOf(name, outputsOf(made.given), made.added),
      accumulation: {
        ...ending(of, made, { ...update, stored: [...update.stored, ...made.kept] }),
        cached,
        ...(parts && { shared: { ...made.shared, ...shardedState(shards, made.sums, given) } }),
      },
    }),
  };
}

/** The graph that ends an accumulation. */
const ending = (
  { stage: { name }, count, ended, shards }: Timed,
  { sums, cleared }: Pick<Accumulation, "sums" | "cleared">,
  { figures, stored, summed }: StepUpdate,
): AccumulationGraphs => ({
  count,
  update: graphOf(name, figures, [...stored, ...ended, ...cleared], `${name}-update`),
  sums,
  ...(shards?.sums && { terms: graphOf(name, [], [shards.sums.terms(ownSums(shards, summed))], `${name}-terms`) }),
});

/** What the rule sums, by the arena that this process has a part of. */
const ownSums = ({ places, numbers }: Shards, summed: StepUpdate["summed"]) =>
  new Map(places.map(({ arena: { layout }, axis }, i) => [numbers[i]!, { layout, axis, summed: summed[i]! }]));

const shardedState = (
  shards: Shards | undefined,
  sums: Accumulation["sums"],
  given: readonly GivenGradient[],
): Pick<SharedState, "shard"> => (shards ? { shard: shards.state(sums, given) } : {});

const outputsOf = (given: readonly GivenGradient[]) => given.map((g) => [g.output, g.node] as const);

/** A graph that outputs metrics and updates states. Throws UsageError if two outputs have the same name. */
function graphOf(
  stage: string,
  figures: readonly (readonly [string, Node])[],
  stored: readonly Stored[],
  name = stage,
): Graph {
  const outputs = [
    ...figures.map(([name, node]) => ({ name, node })),
    ...stored.map(({ output, node }) => ({ name: output, node })),
  ];
  assertDistinct(
    stage,
    outputs.map((o) => o.name),
  );
  const read = new Set(
    topological(outputs.map((o) => o.node))
      .filter(isState)
      .map(inputName),
  );
  const unread = stored.filter((s) => !read.has(s.state));
  const declared = unread.map(({ state: name, node: { type } }) => state(name, type.dtype, type.axes));
  return makeGraph(name, outputs, declared, Object.fromEntries(stored.map((s) => [s.output, s.state])));
}
