/** One step of a training stage as one graph, or two: from a batch to updated parameters. */
import {
  type Graph,
  inputName,
  isState,
  makeGraph,
  type Node,
  type Precision,
  type TensorType,
  topological,
  UsageError,
} from "../compiler/index.ts";
import { checkedEma } from "./ema.ts";
import { type FrozenWeights, frozenDtype, withFrozen } from "./frozen.ts";
import { type Adapter, adaptersOf } from "./lora.ts";
import { assertDistinct, totalLoss } from "./losses.ts";
import {
  type Accumulation,
  accumulated,
  accumulateOf,
  type Batch,
  type GivenGradient,
  type PartOfSums,
  type Stored,
  sampleCount,
} from "./optim/accumulation.ts";
import { numbered, type Placed, placeArenas, type TrainingArena } from "./optim/arenas.ts";
import { apartFromArenas, type InArenas, inArenas, oneBatch, type Traced } from "./optim/batch-gradient.ts";
import { describeOptimizer } from "./optim/describe.ts";
import { cachedAccumulation, type OwnBatches } from "./optim/gradient-cache.ts";
import { type LossScale, lossScaleOf, scaledLoss } from "./optim/loss-scale.ts";
import { rangesOf, ruleOf, settingsByName } from "./optim/settings.ts";
import { type Divided, type PlacedShard, rawNorm, type ShardRange, shardGradient, shardOf } from "./optim/shard.ts";
import type { SharedState } from "./optim/shared-state.ts";
import { type StepUpdate, scaleInStore, stepUpdate } from "./optim/step-update.ts";
import type { StateStart } from "./optim/update-rule.ts";
import { type Range, rootParams } from "./params.ts";
import { contractedParameters, partition } from "./partition.ts";
import type { Stage } from "./stage.ts";
import { state, typed } from "./tensor.ts";
import { trainingState } from "./training-state.ts";

/** A stage as its graphs, and what of them is kept between steps. */
export interface TrainingStep {
  /**
   * Outputs `loss`, `rate`, `gradient_norm` and the metrics; updates the training state. Where micro-batches are
   * accumulated: adds the gradients and figures of one to their sums, and nothing else.
   */
  readonly graph: Graph;
  /** Where micro-batches are accumulated: how many make a step, its second graph, and the sums between, which begin at 0. */
  readonly accumulation?: {
    readonly count: number;
    /** Reads the sums and sets them to 0; outputs and updates what `graph` does otherwise. */
    readonly update: Graph;
    readonly sums: Accumulation["sums"];
    /**
     * Where the loss compares samples: `features` keeps what those of one micro-batch give; `middle`, after the last of
     * them, the figures and what the loss says of each feature. Then `graph` is run on each micro-batch.
     */
    readonly cached?: { readonly features: Graph; readonly middle: Graph };
    /** Where processes share the micro-batches: what they add up, and what they gather. */
    readonly shared?: SharedState;
  };
  /** True where inputs say by number which of a batch's rows belong to a sample: a batch is then fed whole. */
  readonly apart?: boolean;
  /** The same step of `count` micro-batches in all, which several processes share. */
  readonly inParts: (parts: Parts) => TrainingStep;
  /** Where the trained parameters and the optimizer's state lie. */
  readonly arenas: readonly TrainingArena[];
  /** The update rule's name, and what each state that it keeps starts as. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, StateStart>> };
  /** What the optimizer is set to, for people. */
  readonly hyperparameters: Readonly<Record<string, string>>;
  /** Parameter nodes, with their initializers. */
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /** What the frozen parameters are kept as, where that is not f32. */
  readonly frozenAs?: FrozenWeights;
  /** Which of the trained parameters are low-rank updates, and of which frozen ones. */
  readonly adapters: readonly Adapter[];
  /** Further state that the step keeps, with what its elements are at first. */
  readonly kept: readonly { readonly name: string; readonly type: TensorType; readonly initial: number }[];
  /** The name of the counter of steps in the store: an i32 scalar. */
  readonly counter: string;
  /** What the step is to be compiled for. */
  readonly precision: Precision;
  /** The scale of the loss; none in f32. */
  readonly lossScale?: LossScale;
}

/** How a step is divided among processes. */
export interface Parts {
  /** Micro-batches of all processes together, at least 2. */
  readonly count: number;
  /** Whether they are of several sizes: sums are then weighed by samples. */
  readonly isUneven: boolean;
  /** Which of the micro-batches are this process's. */
  readonly own: OwnBatches;
  /** Which range of each arena, by its number of elements, this process updates and keeps state of; default all of it. */
  readonly shard?: (elements: number) => ShardRange;
  /**
   * With `shard`, what else it keeps its part of. Graphs then read parameters as tensors of their own, not from arenas, and give
   * their gradients out.
   */
  readonly divided?: Divided;
  /** Elements of an arena at most; default what the step is compiled with. */
  readonly largestArena?: number;
}

/**
 * Compiles a stage to its step. Parameters lie in arenas of at most `largestArena` elements, default 2^28.
 * Throws UsageError when a pattern matches nothing or nothing is left to train.
 */
export const trainingStep = (stage: Stage, largestArena?: number): TrainingStep => stepOf(stage, largestArena);

function stepOf(given: Stage, largestArena: number | undefined, parts?: Parts): TrainingStep {
  const stage: Stage = parts ? { ...given, accumulate: parts.count } : given;
  const asked = stage.lora && adaptersOf(stage.name, stage.lora);
  const declared = new Map<string, Range>();
  const root = rootParams({
    training: true,
    onRange: (path, within) => declared.set(path, within),
    ...(asked && { adapters: asked }),
  });
  const { loss, metrics = {}, updates = [], weight, apart } = totalLoss(stage.name, stage.loss(root));
  const results = [loss, ...Object.values(metrics), ...updates.map((u) => u.next)];
  const adapters = asked?.made(stage.name, results) ?? [];
  const rule = ruleOf(stage);
  const ema = stage.ema && checkedEma(stage.name, stage.ema);
  const { trained, frozen } = partition(stage, loss, adapters);
  const ranges = rangesOf(stage, trained, declared);
  const placed = placeArenas(trained, rule, ema !== undefined, parts?.largestArena ?? largestArena);
  const lossScale = lossScaleOf(stage);
  const scale = scaleInStore(lossScale);
  const told = [loss, ...Object.values(metrics), ...updates.map((u) => u.next), ...(weight ? [weight] : [])];
  const { roots, weights } = withFrozen(told, frozen, frozenDtype(stage));
  const [kept, names] = [roots.slice(1 + Object.keys(metrics).length), ["loss", ...Object.keys(metrics)]];
  const traced: Traced = {
    loss: scale ? scaledLoss(typed(roots[0]!), scale) : roots[0]!,
    figures: Object.fromEntries(names.map((name, i) => [name, roots[i]!])),
    kept: updates.map(({ name }, i) => ({ output: name, state: name, node: kept[i]! })),
    trained,
    ...(apart && { apart }),
  };
  const shards = parts?.shard && shardsOf(placed, parts.shard, rule.name, parts.divided);
  const arenas = parts?.divided ? apartFromArenas(traced.loss, trained) : inArenas(placed, trained);
  const { whole, graphs } = batchGraphs(stage, traced, arenas, weight && kept.at(-1), parts, shards);
  const { optimizer, precision = "f32" } = stage;
  const settings = settingsByName(stage, trained, contractedParameters(loss));
  const options = { optimizer, rule, ema, settings, ranges, lossScale };
  const update = shards
    ? stepUpdate(whole, shards.places, options, shards.numbers)
    : stepUpdate(whole, placed, options);
  return {
    ...graphs(update),
    inParts: (among) => stepOf(given, largestArena, among),
    ...(apart && { apart }),
    arenas: placed.map((place) => place.arena),
    rule,
    hyperparameters: describeOptimizer(optimizer, rule),
    trained,
    frozen,
    ...(weights.dtype !== "f32" && { frozenAs: weights }),
    adapters,
    kept: updates.map(({ name, next, initial }) => ({ name, type: next.type, initial })),
    counter: trainingState.step,
    precision,
    ...(lossScale && { lossScale }),
  };
}

/** The gradients and figures that an update reads, and the graphs of a step with that update. */
interface BatchGraphs {
  readonly whole: Batch;
  readonly graphs: (update: StepUpdate) => Pick<TrainingStep, "graph" | "accumulation">;
}

function batchGraphs(
  stage: Stage,
  traced: Traced,
  arenas: InArenas,
  weight: Node | undefined,
  parts: Parts | undefined,
  shards: Shards | undefined,
): BatchGraphs {
  const { name } = stage;
  const told = [...Object.values(traced.figures), ...traced.kept.map((k) => k.node)];
  const { count, cut, isAlike } = accumulateOf(stage, told[0]!, told, {
    isWeighed: weight !== undefined,
    isApart: traced.apart === true,
  });
  const accumulation = ({ sums, cleared }: Accumulation, { figures, stored }: StepUpdate) => ({
    count,
    update: graphOf(name, figures, [...stored, ...cleared], `${name}-update`),
    sums,
  });
  const sharded = (sums: Accumulation["sums"], given: readonly GivenGradient[]): Pick<SharedState, "shard"> =>
    shards ? { shard: shards.state(sums, given) } : {};
  if (cut) {
    if (parts?.isUneven) throw unevenParts(name);
    const made = cachedAccumulation(cut, count, traced, arenas, parts?.own, shards?.part);
    const middle = graphOf(name, outputsOf(made.givenByMiddle), made.middle, `${name}-middle`);
    const cached = {
      features: graphOf(name, [], made.features, `${name}-features`),
      middle,
    };
    return {
      whole: made.whole,
      graphs: (update) => ({
        graph: graphOf(name, outputsOf(made.given), made.added),
        accumulation: {
          ...accumulation(made, update),
          cached,
          ...(parts && { shared: { ...made.shared, ...sharded(made.sums, [...made.given, ...made.givenByMiddle]) } }),
        },
      }),
    };
  }
  if (parts && traced.kept.length > 0) throw keptInParts(name, traced.kept);
  const { kept, ...batch } = oneBatch(traced, arenas, weight);
  const weighedBy = (isAlike ? undefined : batch.weight) ?? (parts?.isUneven ? sampleCount(told[0]!) : undefined);
  if (count === 1)
    return { whole: batch, graphs: ({ figures, stored }) => ({ graph: graphOf(name, figures, [...stored, ...kept]) }) };
  const made = accumulated(batch, arenas.axes, count, weighedBy, shards?.part);
  return {
    whole: made.whole,
    graphs: (update) => ({
      graph: graphOf(name, outputsOf(made.given), [...made.added, ...kept]),
      accumulation: {
        ...accumulation(made, update),
        ...(parts && {
          shared: { added: made.sums.map((s) => s.name), gathered: [], ...sharded(made.sums, made.given) },
        }),
      },
    }),
  };
}

/** The parts of all arenas that one process has. */
interface Shards {
  readonly places: readonly PlacedShard[];
  /** The numbers of their arenas. */
  readonly numbers: readonly number[];
  readonly part: PartOfSums;
  readonly state: (sums: Accumulation["sums"], given: readonly GivenGradient[]) => NonNullable<SharedState["shard"]>;
}

function shardsOf(
  placed: readonly Placed[],
  rangeOf: (elements: number) => ShardRange,
  rule: string,
  divided: Divided | undefined,
): Shards {
  const ranges = placed.map(({ arena }) => rangeOf(arena.layout.size));
  const all = placed.map((place, i) => shardOf(place, ranges[i]!, i, rule, divided));
  const places = all.flatMap((shard) => shard ?? []);
  return {
    places,
    numbers: all.flatMap((shard, i) => (shard ? [i] : [])),
    part: { gradients: places.map((p) => p.gradient), norm: typed(state(rawNorm, "f32", [])) },
    // Where they are not given out, sums of gradients are the first of all sums.
    state: (sums, given) => ({
      ranges,
      gradients: placed.map((_, i) => ({ part: numbered(shardGradient, i), ...(!divided && { sum: sums[i]!.name }) })),
      norm: rawNorm,
      ...(divided && { divided: { what: divided, given: new Map(given.map((g) => [g.output, g.parameter])) } }),
    }),
  };
}

const unevenParts = (stage: string): UsageError =>
  new UsageError(
    `stage "${stage}": its loss compares the samples of a batch, which then must be of as many samples for each process: let the batch be a multiple of their number`,
  );

const keptInParts = (stage: string, kept: readonly Stored[]): UsageError =>
  new UsageError(
    `stage "${stage}" keeps ${kept.map((k) => `"${k.state}"`).join(", ")} of each batch, of which every process would have another: such a stage is trained by one process`,
  );

const outputsOf = (given: readonly GivenGradient[]) => given.map((g) => [g.output, g.node] as const);

/** A graph that tells figures and updates states. Throws UsageError where two outputs have one name. */
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
