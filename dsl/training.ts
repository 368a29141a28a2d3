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
import type { StateUpdate } from "./nn/batch-norm.ts";
import { type AdamOptions, adamw } from "./optim/adamw.ts";
import { clampRanges } from "./optim/clamp.ts";
import { clipByNorm, globalNorm } from "./optim/clip.ts";
import { scaledLoss, unscaled } from "./optim/loss-scale.ts";
import { piecewise } from "./optim/piecewise.ts";
import type { Schedule } from "./optim/schedule.ts";
import { sumOfEach } from "./optim/sum-of-each.ts";
import { applyRule, type StateStart, type UpdateRule } from "./optim/update-rule.ts";
import { type Params, type Range, rootParams } from "./params.ts";
import { add, cast, mul, state, type Tensor, typed } from "./tensor.ts";

export interface LossResult {
  /** What is minimized: a scalar. */
  readonly loss: Tensor<never>;
  /** Further scalars to report. */
  readonly metrics?: Readonly<Record<string, Tensor<never>>>;
  /** State that the step keeps besides, such as batch norm's running statistics. */
  readonly updates?: readonly StateUpdate[];
}

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
  /** Path patterns of what is learned: `*` stands for one part of a path, `**` for any number. Default everything. */
  readonly trainable?: readonly string[];
  readonly optimizer: Optimizer;
  /**
   * The least and largest value that parameters are left, by path pattern: they are clamped after each update. Goes before
   * what parameters themselves declare (`within`).
   */
  readonly clamps?: Readonly<Record<string, Range>>;
  /**
   * In which floats forward and backward passes are computed, where the device can. Parameters, their gradients, the
   * optimizer's state, losses and statistics are f32 in either. Default "f32".
   */
  readonly precision?: Precision;
  /**
   * With "f16": what the loss is multiplied by, and the gradient divided by, so that small cotangents stay above what f16
   * rounds to 0. A power of two; default 1024: cotangents then lie between 6e-11 and 64.
   */
  readonly lossScale?: number;
}

export const defineStage = (stage: Omit<Stage, "kind">): Stage => ({ kind: "heddle.stage", ...stage });

/** The precision that a job's setting names. Throws UsageError for another word. */
export function precisionNamed(text: string): Precision {
  const found = precisions.find((p) => p === text);
  if (!found) throw new UsageError(`precision is one of ${precisions.join(", ")}, not "${text}"`);
  return found;
}

/** Names of the state that a training step keeps in a store. */
export const trainingState = {
  parameters: "train.parameters",
  step: "train.step",
  lossScale: "train.loss_scale",
} as const;

/** The name in a store of what an update rule keeps. */
export const optimizerState = (name: string): string => `train.${name}`;

/** Trained parameters, and what the optimizer keeps of each, as ranges of flat tensors. */
export interface TrainingArena {
  readonly layout: ArenaLayout;
  /** Names of the tensors in the store: those of `trainingState` for the first arena, and for the next ones numbered. */
  readonly parameters: string;
  /** What the optimizer keeps, by the names of its rule. */
  readonly state: Readonly<Record<string, string>>;
}

export interface TrainingStep {
  /** Outputs `loss`, `rate`, `gradient_norm` and the metrics; updates the training state. */
  readonly graph: Graph;
  /** Where the trained parameters and the optimizer's state lie. */
  readonly arenas: readonly TrainingArena[];
  /** The update rule's name, and what each state that it keeps starts as. */
  readonly rule: { readonly name: string; readonly state: Readonly<Record<string, StateStart>> };
  /** Parameter nodes, with their initializers. */
  readonly trained: readonly Node[];
  readonly frozen: readonly Node[];
  /** Further state that the step keeps, with what its elements are at first. */
  readonly kept: readonly { readonly name: string; readonly type: TensorType; readonly initial: number }[];
  /** The name of the counter of steps in the store: an i32 scalar. */
  readonly counter: string;
  /** What the step is to be compiled for. */
  readonly precision: Precision;
  /** The scale of the loss in the store, an f32 scalar, and what it is at first; none in f32. */
  readonly lossScale?: { readonly state: string; readonly initial: number };
}

/**
 * Compiles a stage to its step. Parameters lie in arenas of at most `largestArena` elements, default 2^28.
 * Throws UsageError when a pattern matches nothing or nothing is left to train.
 */
export function trainingStep(stage: Stage, largestArena?: number): TrainingStep {
  const declared = new Map<string, Range>();
  const root = rootParams({ training: true, onRange: (path, within) => declared.set(path, within) });
  const { loss, metrics = {}, updates = [] } = stage.loss(root);
  const rule = ruleOf(stage);
  const { trained, frozen } = partition(stage, loss);
  const ranges = rangesOf(stage, trained, declared);
  const layouts = layoutArenas(
    trained.map((n) => ({ name: nameOf(n), type: n.type })),
    largestArena,
  );
  const stateNames = Object.keys(rule.state);
  const arenas = layouts.map(
    (layout, i): TrainingArena => ({
      layout,
      parameters: numbered(trainingState.parameters, i),
      state: Object.fromEntries(stateNames.map((name) => [name, numbered(optimizerState(name), i)])),
    }),
  );
  const axes = layouts.map((layout) => arenaAxis(layout) as Axis<"arena">);
  const before = arenas.map((arena, i) => ({
    parameter: state(arena.parameters, "f32", [axes[i]!]),
    state: Object.fromEntries(
      Object.entries(arena.state).map(([name, stored]) => [name, state(stored, "f32", [axes[i]!])]),
    ),
  }));
  const done = state(trainingState.step, "i32", []);
  const lossScale = lossScaleOf(stage);
  const scale = lossScale && (state(lossScale.state, "f32", []) as Tensor<never>);

  const reported = Object.entries(metrics);
  const told = [loss, ...reported.map(([, n]) => n), ...updates.map((u) => u.next)];
  const roots = [...told, ...differentiate(scale ? scaledLoss(loss, scale) : loss, trained)];
  const views = viewNodes(
    roots,
    layouts,
    before.map((s) => s.parameter),
  );
  const gradients = new Map(trained.map((n, i) => [nameOf(n), views[told.length + i]!]));
  const packed = layouts
    .map((layout) =>
      typed<"arena">(
        packArena(
          layout,
          layout.entries.map((e) => gradients.get(e.name)!),
        ),
      ),
    )
    .map((gradient) => (scale ? unscaled(gradient, scale) : gradient));

  const { optimizer } = stage;
  const norm = globalNorm(packed, axes);
  const rate = optimizer.rate(cast(done, "f32"));
  const step = add(done, 1) as Tensor<never>;
  const settings = settingsByName(stage, trained, contractedParameters(loss));
  const after = packed.map((gradient, i) => {
    const clipped = optimizer.clip === undefined ? gradient : clipByNorm(gradient, norm, optimizer.clip);
    const [rateScale, decay] = perElement(settings, layouts[i]!, axes[i]!);
    const moved = applyRule(rule, {
      ...before[i]!,
      gradient: clipped,
      step,
      rate: mul(rate, rateScale!),
      decay: decay!,
      sumOfEach: (x) => sumOfEach(x, layouts[i]!, axes[i]!),
    });
    return { ...moved, parameter: clampRanges(moved.parameter, layouts[i]!, axes[i]!, ranges) };
  });
  const stored = after.flatMap((moved, i) => [
    { output: numbered("parameters", i), state: arenas[i]!.parameters, node: moved.parameter },
    ...stateNames.map((name) => ({
      output: numbered(name, i),
      state: arenas[i]!.state[name]!,
      node: moved.state[name]!,
    })),
  ]);
  const outputs: Record<string, Node> = {
    loss: views[0]!,
    ...Object.fromEntries(reported.map(([name], i) => [name, views[1 + i]!])),
    rate,
    gradient_norm: norm,
    ...Object.fromEntries(stored.map((s) => [s.output, s.node])),
    step,
    ...Object.fromEntries(updates.map((u, i) => [u.name, views[1 + reported.length + i]!])),
  };
  const graph = makeGraph(
    stage.name,
    Object.entries(outputs).map(([name, node]) => ({ name, node })),
    [],
    {
      step: trainingState.step,
      ...Object.fromEntries(stored.map((s) => [s.output, s.state])),
      ...Object.fromEntries(updates.map((u) => [u.name, u.name])),
    },
  );
  const kept = updates.map(({ name, next, initial }) => ({ name, type: next.type, initial }));
  const { precision = "f32" } = stage;
  return {
    graph,
    arenas,
    rule,
    trained,
    frozen,
    kept,
    counter: trainingState.step,
    precision,
    ...(lossScale && { lossScale }),
  };
}

/** The scale of a stage that computes in f16. Throws UsageError for one that is no power of two, or that nothing asks for. */
function lossScaleOf({ name, precision = "f32", lossScale }: Stage): TrainingStep["lossScale"] {
  if (precision === "f32") {
    if (lossScale === undefined) return undefined;
    throw new UsageError(`stage "${name}": a lossScale goes with precision "f16"; in f32 no gradient needs one`);
  }
  const initial = lossScale ?? usualLossScale;
  if (Number.isInteger(Math.log2(initial)) && Math.abs(Math.log2(initial)) <= 24)
    return { state: trainingState.lossScale, initial };
  throw new UsageError(
    `stage "${name}": lossScale is ${initial}; take a power of two from 2^-24 to 2^24, by which dividing is exact`,
  );
}

const usualLossScale = 2 ** 10;

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
function partition(stage: Stage, loss: Node): { trained: Node[]; frozen: Node[] } {
  const all = topological([loss]).filter(isParameter);
  const patterns = stage.trainable ?? ["**"];
  for (const pattern of patterns) {
    if (!all.some((n) => matchesPath(pattern, nameOf(n)))) {
      throw new UsageError(
        `stage "${stage.name}": the pattern "${pattern}" matches no parameter${didYouMean(pattern, all.map(nameOf)) || "."} There are ${all.length}, such as "${all[0] ? nameOf(all[0]) : ""}".`,
      );
    }
  }
  const trained = all.filter((n) => patterns.some((p) => matchesPath(p, nameOf(n))));
  if (trained.length === 0) throw new UsageError(`stage "${stage.name}" trains nothing: its loss uses no parameter`);
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
  const name = nameOf(parameter);
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

/** Path patterns: `*` is one part between dots, `**` any number of them. */
function matchesPath(pattern: string, path: string): boolean {
  const source = pattern
    .split(/(\*\*\.|\.\*\*|\*\*|\*)/)
    .map((part) => {
      if (part === "**.") return "(?:.*\\.)?";
      if (part === ".**") return "(?:\\..*)?";
      if (part === "**") return ".*";
      if (part === "*") return "[^.]*";
      return part.replace(/[.+?^${}()|[\]\\]/g, "\\$&");
    })
    .join("");
  return new RegExp(`^${source}$`).test(path);
}
