/** A training step as one graph, or several: from a batch to updated parameters. */
import {
  constantInit,
  type Graph,
  inputName,
  isState,
  makeGraph,
  type Node,
  type Precision,
  type TensorType,
  topological,
} from "../compiler/index.ts";
import { checkedEma } from "./ema.ts";
import { type FrozenWeights, frozenDtype, withFrozen } from "./frozen.ts";
import { type Adapter, adaptersOf } from "./lora.ts";
import { assertDistinct, totalLoss } from "./losses.ts";
import type { BufferStart } from "./nn/buffer.ts";
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
import { cachedAccumulation, type OwnPart } from "./optim/gradient-cache.ts";
import { keptWhen, requireWhole, withMicroBatches } from "./optim/kept-buffers.ts";
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

/** The graphs of a stage, and the state that persists between steps. */
export interface TrainingStep {
  /**
   * Outputs `loss`, `rate`, `gradient_norm` and the metrics; updates the training state. With accumulation it only adds
   * the gradients and metrics of one micro-batch to their sums.
   */
  readonly graph: Graph;
  /** With accumulation: the micro-batches per step, the update graph, and the sums between, which start at 0. */
  readonly accumulation?: {
    readonly count: number;
    /** Reads the sums and resets them to 0; has the outputs and updates that `graph` has without accumulation. */
    readonly update: Graph;
    readonly sums: Accumulation["sums"];
    /**
     * If the loss compares samples: `features` caches the features of each micro-batch; `middle`, run once after the
     * last, computes metrics and the cotangent of each feature. Then `graph` runs on each micro-batch.
     */
    readonly cached?: { readonly features: Graph; readonly middle: Graph };
    /** For data parallelism: what processes all-reduce, and what they gather. */
    readonly shared?: SharedState;
  };
  /** True if inputs index the rows of a batch that belong to a sample: a batch is then fed whole. */
  readonly apart?: boolean;
  /** The same step, with `count` micro-batches in total, divided among processes. */
  readonly inParts: (parts: Parts) => TrainingStep;
  /** The arenas that hold the trained parameters and the optimizer state. */
  readonly arenas: readonly TrainingArena[];
  /** The update rule's name, and the initial value of each of its states. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, StateStart>> };
  /** The optimizer's settings, as human-readable text. */
  readonly hyperparameters: Readonly<Record<string, string>>;
  /** Parameter nodes, with their initializers. */
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /** How frozen parameters are stored, if not as f32. */
  readonly frozenAs?: FrozenWeights;
  /** The low-rank updates among the trained parameters, with the frozen weights they belong to. */
  readonly adapters: readonly Adapter[];
  /** The buffers that the step updates, with what they are before the first step. */
  readonly kept: readonly { readonly name: string; readonly type: TensorType; readonly initial: BufferStart }[];
  /** The name of the step counter in the store: an i32 scalar. */
  readonly counter: string;
  /** The precision to compile the step for. */
  readonly precision: Precision;
  /** The loss scale; undefined in f32. */
  readonly lossScale?: LossScale;
}

/** How a step is divided among data-parallel processes. */
export interface Parts extends OwnPart {
  /** Micro-batches over all processes, at least 2. Sums of uneven ones are weighted by their number of samples. */
  readonly count: number;
  /**
   * The range of an arena, given its element count, that this process updates and keeps optimizer state for; default
   * all.
   */
  readonly shard?: (elements: number) => ShardRange;
  /**
   * With `shard`: what else is sharded. Graphs then read parameters as separate tensors, not from arenas, and output
   * their gradients.
   */
  readonly divided?: Divided;
  /** Maximum elements of an arena; default the `largestArena` of `trainingStep`. */
  readonly largestArena?: number;
}

/**
 * Lowers a stage to its training step. Parameters lie in arenas of at most `largestArena` elements, default 2^28.
 * Throws UsageError if a pattern matches nothing or nothing is left to train.
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
    kept: updates.map(({ name, oncePerStep = false }, i) => ({
      output: name,
      state: name,
      node: kept[i]!,
      oncePerStep,
    })),
    trained,
    ...(apart && { apart }),
  };
  const shards = parts?.shard && shardsOf(placed, parts.shard, rule.name, parts.divided);
  const arenas = parts?.divided ? apartFromArenas(traced.loss, trained) : inArenas(placed, trained);
  const { whole, graphs } = batchGraphs(
    stage,
    (given.accumulate ?? 1) === 1,
    traced,
    arenas,
    weight && kept.at(-1),
    parts,
    shards,
  );
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
    kept: updates.map(({ name, next, initial }) => ({
      ...{ name, type: next.type },
      initial: typeof initial === "number" ? constantInit(initial) : initial,
    })),
    counter: trainingState.step,
    precision,
    ...(lossScale && { lossScale }),
  };
}

/** The gradients and metrics that an update reads, and the graphs of a step with that update. */
interface BatchGraphs {
  readonly whole: Batch;
  readonly graphs: (update: StepUpdate) => Pick<TrainingStep, "graph" | "accumulation">;
}

/** `isOneBatch`: a step reads one batch, which processes may divide. */
function batchGraphs(
  stage: Stage,
  isOneBatch: boolean,
  traced: Traced,
  arenas: InArenas,
  weight: Node | undefined,
  parts: Parts | undefined,
  shards: Shards | undefined,
): BatchGraphs {
  const { name } = stage;
  const [atEnd, withEach] = keptWhen(name, traced.kept, isOneBatch, parts);
  const told = [...Object.values(traced.figures), ...withEach.map((k) => k.node)];
  const { count, cut, isAlike } = accumulateOf(stage, told[0]!, told, {
    isWeighed: weight !== undefined,
    isApart: traced.apart === true,
    isOneEach: parts !== undefined && isOneBatch,
    ...(parts && isOneBatch && withEach.length > 0 && { gathered: withEach.map((k) => k.state) }),
  });
  const ended = arenas.viewed(atEnd.map((k) => k.node)).map((node, i): Stored => ({ ...atEnd[i]!, node }));
  const accumulation = ({ sums, cleared }: Accumulation, { figures, stored }: StepUpdate) => ({
    count,
    update: graphOf(name, figures, [...stored, ...ended, ...cleared], `${name}-update`),
    sums,
  });
  const sharded = (sums: Accumulation["sums"], given: readonly GivenGradient[]): Pick<SharedState, "shard"> =>
    shards ? { shard: shards.state(sums, given) } : {};
  if (cut) {
    const made = cachedAccumulation(cut, count, { ...traced, kept: withEach }, arenas, parts, shards?.part);
    requireWhole(name, made.kept, parts?.divided);
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
          ...accumulation(made, { ...update, stored: [...update.stored, ...made.kept] }),
          cached,
          ...(parts && { shared: { ...made.shared, ...sharded(made.sums, [...made.given, ...made.givenByMiddle]) } }),
        },
      }),
    };
  }
  if (parts && withEach.length > 0) throw withMicroBatches(name, withEach);
  const { kept, ...batch } = oneBatch({ ...traced, kept: withEach }, arenas, weight);
  const weighedBy = (isAlike ? undefined : batch.weight) ?? (parts?.uneven ? sampleCount(told[0]!) : undefined);
  if (count === 1)
    return {
      whole: batch,
      graphs: ({ figures, stored }) => ({ graph: graphOf(name, figures, [...stored, ...ended, ...kept]) }),
    };
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

/** One process's shards of all arenas. */
interface Shards {
  readonly places: readonly PlacedShard[];
  /** The indices of their arenas. */
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
    // Unless gradients are graph outputs, their sums come first among all sums.
    state: (sums, given) => ({
      ranges,
      gradients: placed.map((_, i) => ({ part: numbered(shardGradient, i), ...(!divided && { sum: sums[i]!.name }) })),
      norm: rawNorm,
      ...(divided && { divided: { what: divided, given: new Map(given.map((g) => [g.output, g.parameter])) } }),
    }),
  };
}

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
