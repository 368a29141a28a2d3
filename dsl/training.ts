/** Training stages: what is learned, by which loss and optimizer; one step is one graph from batch to updated parameters. */
import {
  type ArenaLayout,
  arenaAxis,
  coreOf,
  didYouMean,
  differentiate,
  type Graph,
  isParameter,
  layoutArenas,
  makeGraph,
  type Node,
  operandsAs,
  opRecord,
  type Precision,
  packArena,
  precisions,
  type TensorType,
  topological,
  UsageError,
  viewNodes,
} from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { averaged, checkedEma, type EmaOptions } from "./ema.ts";
import { type Adapter, adaptersOf, asWeight, type LoraOptions } from "./lora.ts";
import { assertDistinct, type LossResult, totalLoss } from "./losses.ts";
import { type Accumulation, accumulated, accumulateOf, type Batch, type Stored } from "./optim/accumulation.ts";
import { type AdamOptions, adamw } from "./optim/adamw.ts";
import { clampRanges } from "./optim/clamp.ts";
import { clipByNorm, globalNorm } from "./optim/clip.ts";
import { describeOptimizer } from "./optim/describe.ts";
import { isFiniteNorm, type LossScale, lossScaleAfter, lossScaleOf, scaledLoss, unscaled } from "./optim/loss-scale.ts";
import { piecewise } from "./optim/piecewise.ts";
import type { Schedule } from "./optim/schedule.ts";
import { sumOfEach } from "./optim/sum-of-each.ts";
import {
  applyRule,
  type StateStart,
  type UpdateInputs,
  type UpdateResult,
  type UpdateRule,
} from "./optim/update-rule.ts";
import { type Params, type Range, rootParams } from "./params.ts";
import { chosenBy, matchesPath, unmatched } from "./path-patterns.ts";
import { add, cast, mul, select, state, type Tensor, typed } from "./tensor.ts";
import { optimizerState, trainingState } from "./training-state.ts";

/** How parameters move. What is said of Adam (beta1, beta2, epsilon) is for the default rule alone. */
export interface Optimizer extends AdamOptions {
  readonly rate: Schedule;
  /** Default AdamW: `adamw()`. Others are `adam`, `sgd`, `lamb`, `lion`, and what `updateRule` makes. */
  readonly rule?: UpdateRule;
  /** Default what the rule says; 0.01 of AdamW. */
  readonly weightDecay?: number;
  /** The largest global gradient norm; default unlimited. */
  readonly clip?: number;
  /** True for parameters that weight decay acts on; by default those that are contracted or looked up: not biases, norms, scales. */
  readonly decays?: (name: string) => boolean;
  /** Multiplies the learning rate of a parameter: layer-wise decay. Default 1. */
  readonly rateScale?: (name: string) => number;
}

export interface Stage {
  readonly kind: "heddle.stage";
  readonly name: string;
  /** Declares inputs, runs the model, and gives the loss. */
  readonly loss: (p: Params) => LossResult;
  /**
   * Path patterns of what is learned: `*` stands for one part of a path, `**` for any number; what a pattern with `!` before
   * it matches is not learned, in whatever order they stand: `"!text.**"` alone is all but the text. Default everything.
   */
  readonly trainable?: readonly string[];
  readonly optimizer: Optimizer;
  /**
   * The least and largest value that parameters are left, by path pattern: they are clamped after each update. Goes before
   * what parameters themselves declare (`within`).
   */
  readonly clamps?: Readonly<Record<string, Range>>;
  /**
   * Linears that learn a low-rank update instead of their weight, which is frozen. Where `trainable` is left out, the
   * updates are all that is learned. They have the rate and the decay of the weight. A run's weights have them merged.
   */
  readonly lora?: LoraOptions;
  /**
   * An average of what is learned, kept beside it. It is what a run writes, and so what is evaluated and exported;
   * gradients are of the weights themselves, with which a resumed run goes on.
   */
  readonly ema?: EmaOptions;
  /**
   * In which floats forward and backward passes are computed, where the device can. Parameters, their gradients, the
   * optimizer's state, losses and statistics are f32 in either. Default "f32".
   */
  readonly precision?: Precision;
  /**
   * With "f16": what the loss is multiplied by, and the gradient divided by, so that small cotangents stay above what f16
   * rounds to 0. A power of two, which then is fixed. By default it begins at 1024 and adapts: a step whose gradient is not
   * finite is skipped and halves it, and 2000 good steps in a row double it.
   */
  readonly lossScale?: number;
  /**
   * Micro-batches that one update is made of; default 1. Each is fed and computed by itself, so that a large batch needs
   * the memory of a small one. The loss must be a mean over samples: the axis "batch" of its inputs.
   */
  readonly accumulate?: number;
}

export const defineStage = (stage: Omit<Stage, "kind">): Stage => ({ kind: "heddle.stage", ...stage });

/** The precision that a job's setting names. Throws UsageError for another word. */
export function precisionNamed(text: string): Precision {
  const found = precisions.find((p) => p === text);
  if (!found) throw new UsageError(`precision is one of ${precisions.join(", ")}, not "${text}"`);
  return found;
}

/** Trained parameters, and what the optimizer keeps of each, as ranges of flat tensors. */
export interface TrainingArena {
  readonly layout: ArenaLayout;
  /** Names of the tensors in the store: those of `trainingState` for the first arena, and for the next ones numbered. */
  readonly parameters: string;
  /** What the optimizer keeps, by the names of its rule. */
  readonly state: Readonly<Record<string, string>>;
  /** The average of the parameters; none without `ema`. */
  readonly average?: string;
}

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
  };
  /** Where the trained parameters and the optimizer's state lie. */
  readonly arenas: readonly TrainingArena[];
  /** The update rule's name, and what each state that it keeps starts as. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, StateStart>> };
  /** What the optimizer is set to, for people. */
  readonly hyperparameters: Readonly<Record<string, string>>;
  /** Parameter nodes, with their initializers. */
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
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

/**
 * Compiles a stage to its step. Parameters lie in arenas of at most `largestArena` elements, default 2^28.
 * Throws UsageError when a pattern matches nothing or nothing is left to train.
 */
export function trainingStep(stage: Stage, largestArena?: number): TrainingStep {
  const asked = stage.lora && adaptersOf(stage.name, stage.lora);
  const declared = new Map<string, Range>();
  const root = rootParams({
    training: true,
    onRange: (path, within) => declared.set(path, within),
    ...(asked && { adapters: asked }),
  });
  const { loss, metrics = {}, updates = [], weight } = totalLoss(stage.name, stage.loss(root));
  const adapters = asked?.made(stage.name) ?? [];
  const rule = ruleOf(stage);
  const ema = stage.ema && checkedEma(stage.name, stage.ema);
  const { trained, frozen } = partition(stage, loss, adapters);
  const ranges = rangesOf(stage, trained, declared);
  const placed = placeArenas(trained, rule, ema !== undefined, largestArena);
  const layouts = placed.map((place) => place.arena.layout);
  const axes = placed.map((place) => place.axis);
  const done = state(trainingState.step, "i32", []);
  const lossScale = lossScaleOf(stage);
  const scale = lossScale && (state(lossScale.state, "f32", []) as Tensor<never>);

  const reported = Object.entries(metrics);
  const told = [loss, ...reported.map(([, n]) => n), ...updates.map((u) => u.next), ...(weight ? [weight] : [])];
  const roots = [...told, ...differentiate(scale ? scaledLoss(loss, scale) : loss, trained)];
  const views = viewNodes(
    roots,
    layouts,
    placed.map((place) => place.before.parameter),
  );
  const gradients = new Map(trained.map((n, i) => [nameOf(n), views[told.length + i]!]));
  const batch: Batch = {
    gradients: layouts.map((layout) =>
      typed<"arena">(
        packArena(
          layout,
          layout.entries.map((e) => gradients.get(e.name)!),
        ),
      ),
    ),
    figures: Object.fromEntries(
      ["loss", ...reported.map(([name]) => name)].map((name, i) => [name, scalarOf(views[i])]),
    ),
  };
  const kept = updates.map(
    ({ name }, i): Stored => ({ output: name, state: name, node: views[1 + reported.length + i]! }),
  );
  const count = accumulateOf(stage, loss, weight !== undefined);
  const sums = count > 1 ? accumulated(batch, axes, count, weight && scalarOf(views[told.length - 1])) : undefined;

  const { optimizer } = stage;
  const whole = sums?.whole ?? batch;
  const packed = whole.gradients.map((gradient) => (scale ? unscaled(gradient, scale) : gradient));
  const norm = globalNorm(packed, axes);
  const rate = optimizer.rate(cast(done, "f32"));
  const step = add(done, 1) as Tensor<never>;
  const settings = settingsByName(stage, trained, contractedParameters(loss));
  const adapting = lossScale?.goodSteps === undefined ? undefined : { finite: isFiniteNorm(norm), scale: scale! };
  /** Nothing moves in a step whose gradient is not finite. */
  const unlessSkipped = <A extends string>(after: Tensor<A>, now: Tensor<A>): Tensor<A> =>
    (adapting ? select(adapting.finite, after, now) : after) as Tensor<A>;
  const stored = placed.flatMap((place, i): Stored[] => {
    const { arena, before, average } = place;
    const gradient = optimizer.clip === undefined ? packed[i]! : clipByNorm(packed[i]!, norm, optimizer.clip);
    const after = updateArena(place, { rule, gradient, step, rate, settings, ranges });
    const range = (output: string, state: string, next: Tensor<"arena">, now: Tensor<"arena">): Stored => ({
      output: numbered(output, i),
      state,
      node: unlessSkipped(next, now),
    });
    return [
      range("parameters", arena.parameters, after.parameter, before.parameter),
      ...Object.entries(arena.state).map(([name, held]) => range(name, held, after.state[name]!, before.state[name]!)),
      ...(average ? [range("average", arena.average!, averaged(average, after.parameter, ema!), average)] : []),
    ];
  });
  const scaling = adapting && lossScaleAfter(adapting.scale, adapting.finite);
  const figures = [
    ...Object.entries(whole.figures),
    ...Object.entries({ rate, gradient_norm: norm, ...scaling?.figures }),
  ];
  const counted: Stored = {
    output: "step",
    state: trainingState.step,
    node: unlessSkipped(step, done as Tensor<never>),
  };
  const after = [...stored, counted, ...(scaling?.stored ?? [])];
  const { precision = "f32" } = stage;
  return {
    ...(sums
      ? {
          graph: graphOf(stage.name, [], [...sums.added, ...kept]),
          accumulation: {
            count,
            update: graphOf(stage.name, figures, [...after, ...sums.cleared], `${stage.name}-update`),
            sums: sums.sums,
          },
        }
      : { graph: graphOf(stage.name, figures, [...after, ...kept]) }),
    arenas: placed.map((place) => place.arena),
    rule,
    hyperparameters: describeOptimizer(optimizer, rule),
    trained,
    frozen,
    adapters,
    kept: updates.map(({ name, next, initial }) => ({ name, type: next.type, initial })),
    counter: trainingState.step,
    precision,
    ...(lossScale && { lossScale }),
  };
}

/** An arena in the graph of a step, with what it holds before that. */
interface Placed {
  readonly arena: TrainingArena;
  readonly axis: Axis<"arena">;
  readonly before: UpdateResult<string>;
  readonly average?: Tensor<"arena">;
}

function placeArenas(
  trained: readonly Node[],
  rule: UpdateRule,
  isAveraged: boolean,
  largestArena: number | undefined,
): Placed[] {
  const layouts = layoutArenas(
    trained.map((n) => ({ name: nameOf(n), type: n.type })),
    largestArena,
  );
  return layouts.map((layout, i): Placed => {
    const names = Object.keys(rule.state).map((name) => [name, numbered(optimizerState(name), i)] as const);
    const axis = arenaAxis(layout) as Axis<"arena">;
    const held = (name: string) => state(name, "f32", [axis]);
    const average = isAveraged && numbered(trainingState.average, i);
    const arena = {
      layout,
      parameters: numbered(trainingState.parameters, i),
      state: Object.fromEntries(names),
      ...(average && { average }),
    };
    const kept = Object.fromEntries(names.map(([name, stored]) => [name, held(stored)]));
    const before = { parameter: held(arena.parameters), state: kept };
    return { arena, axis, before, ...(average && { average: held(average) }) };
  });
}

/** What all arenas of an update share, and the gradient of one. */
interface ArenaUpdate extends Pick<UpdateInputs<string>, "gradient" | "step"> {
  readonly rule: UpdateRule;
  readonly rate: Tensor<never>;
  readonly settings: ReadonlyMap<string, [number, number]>;
  readonly ranges: ReadonlyMap<string, Range>;
}

function updateArena(
  { arena: { layout }, axis, before }: Placed,
  { rule, rate, settings, ranges, ...now }: ArenaUpdate,
): UpdateResult<string> {
  const [rateScale, decay] = perElement(settings, layout, axis);
  const after = applyRule(rule, {
    ...before,
    ...now,
    rate: mul(rate, rateScale!),
    decay: decay!,
    sumOfEach: (x) => sumOfEach(x, layout, axis),
  });
  return { ...after, parameter: clampRanges(after.parameter, layout, axis, ranges) };
}

const scalarOf = (node: Node | undefined): Tensor<never> => typed<never>(node!);

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
  return makeGraph(name, outputs, [], Object.fromEntries(stored.map((s) => [s.output, s.state])));
}

/** The rule of a stage. Throws UsageError for settings of Adam beside another rule, which would not act. */
function ruleOf({ name, optimizer }: Stage): UpdateRule {
  const { rule, beta1, beta2, epsilon } = optimizer;
  if (!rule) return adamw(optimizer);
  const idle = Object.entries({ beta1, beta2, epsilon }).find(([, v]) => v !== undefined);
  if (idle)
    throw new UsageError(
      `stage "${name}": ${idle[0]} does not act beside a rule; write it as ${rule.name}({ ${idle[0]}: ${idle[1]} })`,
    );
  return rule;
}

/** The range of each trained parameter that has one: what the stage says, else what the parameter declares. */
function rangesOf(stage: Stage, trained: readonly Node[], declared: ReadonlyMap<string, Range>): Map<string, Range> {
  const clamps = Object.entries(stage.clamps ?? {});
  const names = trained.map(nameOf);
  const idle = clamps.find(([pattern]) => !names.some((n) => matchesPath(pattern, n)));
  if (idle)
    throw new UsageError(
      `stage "${stage.name}": the clamp "${idle[0]}" matches no trained parameter${didYouMean(idle[0], names)}`,
    );
  const ranges = names.flatMap((name): [string, Range][] => {
    const within = clamps.find(([pattern]) => matchesPath(pattern, name))?.[1] ?? declared.get(name);
    return within ? [[name, within]] : [];
  });
  for (const [name, [low, high]] of ranges)
    if (!(Number.isFinite(low) && Number.isFinite(high) && low <= high))
      throw new UsageError(
        `stage "${stage.name}": "${name}" is to stay within [${low}, ${high}], which is no range of numbers`,
      );
  return new Map(ranges);
}

/** The name of an arena's tensor: as it is for the first, numbered for those after it. */
const numbered = (name: string, i: number): string => (i === 0 ? name : `${name}.${i}`);

const nameOf = (node: Node): string => String(node.attrs.name);

/** Trained parameters first those that decay, so that the per-element settings are few runs. */
function partition(stage: Stage, loss: Node, adapters: readonly Adapter[]): { trained: Node[]; frozen: Node[] } {
  const all = topological([loss]).filter(isParameter);
  const updates = new Set(adapters.flatMap(({ down, up }) => [down, up]));
  const adapted = new Set(adapters.map(({ weight }) => weight));
  const patterns = stage.trainable ?? (stage.lora ? [] : ["**"]);
  const given = all.map(nameOf).filter((name) => !updates.has(name));
  const wrongPattern = unmatched(patterns, given);
  if (wrongPattern !== undefined) throw new UsageError(`stage "${stage.name}": ${wrongPattern}`);
  const isChosen = chosenBy(patterns);
  const isLearned = (name: string) => updates.has(name) || (isChosen(name) && !adapted.has(name));
  const trained = all.filter((n) => isLearned(nameOf(n)));
  if (trained.length === 0) {
    const why = all.length === 0 ? "its loss uses no parameter" : `${patterns.join(", ")} leaves none`;
    throw new UsageError(`stage "${stage.name}" trains nothing: ${why}`);
  }
  const wrong = trained.find((n) => n.type.dtype !== "f32");
  if (wrong) throw new UsageError(`parameter "${nameOf(wrong)}" is ${wrong.type.dtype}: trained parameters are f32`);
  const weights = contractedParameters(loss);
  const key = (n: Node) => settingsOf(stage, n, weights).join();
  const groups = new Map<string, Node[]>();
  for (const n of trained) groups.set(key(n), [...(groups.get(key(n)) ?? []), n]);
  const kept = new Set(trained);
  return { trained: [...groups.values()].flat(), frozen: all.filter((n) => !kept.has(n)) };
}

/** Parameters that are factors of a product or tables, as they are or moved. */
function contractedParameters(loss: Node): Set<Node> {
  const found = new Set<Node>();
  const source = (node: Node): Node => (opRecord(node.op).kind === "movement" ? source(node.operands[0]!) : node);
  for (const node of topological([loss])) {
    const read = coreOf(node)?.kind === "contraction" ? node.operands : operandsAs(node, "table");
    for (const operand of read.map(source)) if (isParameter(operand)) found.add(operand);
  }
  return found;
}

/** The rate multiplier and the weight decay of one parameter. */
function settingsOf(stage: Stage, parameter: Node, weights: ReadonlySet<Node>): [number, number] {
  const { optimizer } = stage;
  const name = asWeight(nameOf(parameter));
  const decays = optimizer.decays?.(name) ?? weights.has(parameter);
  const weightDecay = optimizer.weightDecay ?? ruleOf(stage).weightDecay ?? 0;
  return [optimizer.rateScale?.(name) ?? 1, decays ? weightDecay : 0];
}

/** Of every trained parameter, by its name. */
const settingsByName = (stage: Stage, trained: readonly Node[], weights: ReadonlySet<Node>) =>
  new Map(trained.map((n) => [nameOf(n), settingsOf(stage, n, weights)]));

/** Rate multiplier and decay of every element of an arena. */
function perElement(
  settings: ReadonlyMap<string, [number, number]>,
  { entries }: ArenaLayout,
  arena: Axis<"arena">,
): Tensor<"arena">[] {
  return [0, 1].map((which) =>
    piecewise(
      entries.map((e) => ({ start: e.offset, value: settings.get(e.name)![which]! })),
      arena,
    ),
  );
}
