/** The update of a step: from the gradients of a whole batch to parameters, optimizer state and metrics. */
import { type Node, ops, UsageError } from "../../compiler/index.ts";
import { isTensor, kindOfValue } from "../declared.ts";
import { averaged, type EmaOptions } from "../ema.ts";
import type { Range } from "../params.ts";
import type { Optimizer } from "../stage.ts";
import { add, cast, constant, select, state, type Tensor } from "../tensor.ts";
import { trainingState } from "../training-state.ts";
import type { Batch, Stored } from "./accumulation.ts";
import { numbered, type Placed, type UpdatedArena, updateArena } from "./arenas.ts";
import { clipByNorm, globalNorm } from "./clip.ts";
import { isFiniteNorm, type LossScale, lossScaleAfter, unscaled } from "./loss-scale.ts";
import type { PlacedShard } from "./shard.ts";
import type { Summed } from "./sum-of-each.ts";
import type { UpdateRule } from "./update-rule.ts";

/** A stage's optimizer settings. */
export interface UpdateOptions {
  readonly optimizer: Optimizer;
  readonly rule: UpdateRule;
  readonly ema: EmaOptions | undefined;
  /** Rate multiplier and weight decay by parameter. */
  readonly settings: ReadonlyMap<string, [number, number]>;
  readonly ranges: ReadonlyMap<string, Range>;
  readonly lossScale: LossScale | undefined;
}

/** The metrics of a step, and the states it writes. */
export interface StepUpdate {
  readonly figures: readonly (readonly [string, Node])[];
  readonly stored: readonly Stored[];
  /** What the rule summed over each parameter, by place. */
  readonly summed: readonly Summed[];
}

/** The loss scale that gradients are multiplied by, as the store has it. */
export const scaleInStore = (lossScale: LossScale | undefined): Tensor<never> | undefined =>
  lossScale && (state(lossScale.state, "f32", []) as Tensor<never>);

/** The learning rate of a step. Throws UsageError for a schedule that does not return a scalar. */
function rateOf({ rate }: Optimizer, step: Tensor<never>): Tensor<never> {
  const now = rate(step);
  if (isTensor(now) && now.type.axes.length === 0) return now;
  throw new UsageError(
    `a learning-rate schedule must return a scalar tensor, got ${isTensor(now) ? `one with the axes [${now.type.axes.map((a) => a.name).join(", ")}]` : kindOfValue(now)}; a fixed rate is constantRate(0.1)`,
  );
}

/**
 * The update of a step. Updated shards are written into their whole arena; `numbers` are the arenas' indices, if some
 * have no shard here.
 */
export function stepUpdate(
  batch: Batch,
  placed: readonly (Placed | PlacedShard)[],
  options: UpdateOptions,
  numbers: readonly number[] = placed.map((_, i) => i),
): StepUpdate {
  const { optimizer, rule, ema, settings, ranges, lossScale } = options;
  const scale = scaleInStore(lossScale);
  const gradients = batch.gradients.map((gradient) => (scale ? unscaled(gradient, scale) : gradient));
  const norm = batch.norm
    ? ((scale ? unscaled(batch.norm, scale) : batch.norm) as Tensor<never>)
    : globalNorm(
        gradients,
        placed.map((place) => place.axis),
      );
  const done = state(trainingState.step, "i32", []);
  const rate = rateOf(optimizer, cast(done, "f32"));
  const step = add(done, 1) as Tensor<never>;
  const adapting = lossScale?.goodSteps === undefined ? undefined : { finite: isFiniteNorm(norm), scale: scale! };
  const unlessSkipped: UnlessSkipped = <A extends string>(after: Tensor<A>, now: Tensor<A>) =>
    (adapting ? select(adapting.finite, after, now) : after) as Tensor<A>;
  const updates = placed.map((place, i) => {
    const gradient = optimizer.clip === undefined ? gradients[i]! : clipByNorm(gradients[i]!, norm, optimizer.clip);
    return updateArena(place, { rule, gradient, step, rate, settings, ranges });
  });
  const arenas = placed.flatMap((place, i) => storedArena(place, updates[i]!, numbers[i]!, ema, unlessSkipped));
  const scaling = adapting && lossScaleAfter(adapting.scale, adapting.finite);
  return {
    figures: [...Object.entries(batch.figures), ...Object.entries({ rate, gradient_norm: norm, ...scaling?.figures })],
    stored: [
      ...arenas,
      { output: "step", state: trainingState.step, node: unlessSkipped(step, done as Tensor<never>) },
      ...(scaling?.stored ?? []),
    ],
    summed: updates.map(({ summed }) => summed),
  };
}

/** A step with a non-finite gradient changes nothing. */
type UnlessSkipped = <A extends string>(after: Tensor<A>, now: Tensor<A>) => Tensor<A>;

/** What an update writes of the arena of this number: parameters, optimizer state and average. */
function storedArena(
  place: Placed | PlacedShard,
  after: UpdatedArena,
  number: number,
  ema: EmaOptions | undefined,
  unlessSkipped: UnlessSkipped,
): Stored[] {
  const { arena, before, average } = place;
  const range = (output: string, state: string, next: Tensor<"arena">, now: Tensor<"arena">): Stored => ({
    output: numbered(output, number),
    state,
    node: unlessSkipped(next, now),
  });
  const updated = range("parameters", arena.parameters, after.parameter, before.parameter);
  const isInWhole = "range" in place && place.whole !== undefined;
  return [
    isInWhole
      ? { ...updated, node: ops.overwrite(place.whole, updated.node, constant(place.range.from, "i32"), "arena") }
      : updated,
    ...Object.entries(arena.state).map(([name, held]) => range(name, held, after.state[name]!, before.state[name]!)),
    ...(average ? [range("average", arena.average!, averaged(average, after.parameter, ema!), average)] : []),
  ];
}
