/** One step of a training stage as one graph, or two: from a batch to updated parameters. */
import {
  differentiate,
  type Graph,
  inputName,
  makeGraph,
  type Node,
  type Precision,
  packArena,
  type TensorType,
  viewNodes,
} from "../compiler/index.ts";
import { averaged, checkedEma } from "./ema.ts";
import { type Adapter, adaptersOf } from "./lora.ts";
import { assertDistinct, totalLoss } from "./losses.ts";
import { type Accumulation, accumulated, accumulateOf, type Batch, type Stored } from "./optim/accumulation.ts";
import { numbered, placeArenas, type TrainingArena, updateArena } from "./optim/arenas.ts";
import { clipByNorm, globalNorm } from "./optim/clip.ts";
import { isFiniteNorm, type LossScale, lossScaleAfter, lossScaleOf, scaledLoss, unscaled } from "./optim/loss-scale.ts";
import { rangesOf, ruleOf, settingsByName } from "./optim/settings.ts";
import type { StateStart } from "./optim/update-rule.ts";
import { type Range, rootParams } from "./params.ts";
import { contractedParameters, partition } from "./partition.ts";
import type { Stage } from "./stage.ts";
import { add, cast, select, state, type Tensor, typed } from "./tensor.ts";
import { trainingState } from "./training-state.ts";

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
  const gradients = new Map(trained.map((n, i) => [inputName(n), views[told.length + i]!]));
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
    trained,
    frozen,
    adapters,
    kept: updates.map(({ name, next, initial }) => ({ name, type: next.type, initial })),
    counter: trainingState.step,
    precision,
    ...(lossScale && { lossScale }),
  };
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
