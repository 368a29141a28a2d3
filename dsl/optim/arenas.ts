/** Arenas: trained parameters and their optimizer state as ranges of flat tensors, and the update of one arena. */
import { type ArenaLayout, arenaAxis, inputName, layoutArenas, type Node } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import type { Range } from "../params.ts";
import { mul, state, type Tensor } from "../tensor.ts";
import { optimizerState, trainingState } from "../training-state.ts";
import { clampRanges } from "./clamp.ts";
import { perElement } from "./settings.ts";
import { type Summed, sumOfEach } from "./sum-of-each.ts";
import { applyRule, type UpdateInputs, type UpdateResult, type UpdateRule } from "./update-rule.ts";

/** Trained parameters and their optimizer state, as ranges of flat tensors. */
export interface TrainingArena {
  readonly layout: ArenaLayout;
  /** The name of the tensor in the store: that of `trainingState` for the first arena, numbered for later ones. */
  readonly parameters: string;
  /** Store names of the optimizer state, by the rule's names. */
  readonly state: Readonly<Record<string, string>>;
  /** The moving average of the parameters; undefined without `ema`. */
  readonly average?: string;
}

/** An arena in the graph of a step, with its contents before the step. */
export interface Placed {
  readonly arena: TrainingArena;
  readonly axis: Axis<"arena">;
  readonly before: UpdateResult<string>;
  readonly average?: Tensor<"arena">;
  /** The rule's nth sum over whole parameters, broadcast over these, where a process has a part of them only. */
  readonly wholeSums?: (nth: number) => Tensor<"arena">;
}

export function placeArenas(
  trained: readonly Node[],
  rule: UpdateRule,
  isAveraged: boolean,
  largestArena: number | undefined,
): Placed[] {
  const layouts = layoutArenas(
    trained.map((n) => ({ name: inputName(n), type: n.type })),
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

/** The inputs of an update that all arenas share, and the gradient of one. */
export interface ArenaUpdate extends Pick<UpdateInputs<string>, "gradient" | "step"> {
  readonly rule: UpdateRule;
  readonly rate: Tensor<never>;
  readonly settings: ReadonlyMap<string, [number, number]>;
  readonly ranges: ReadonlyMap<string, Range>;
}

/** What an update makes of an arena, and what its rule summed over each parameter. */
export interface UpdatedArena extends UpdateResult<string> {
  readonly summed: Summed;
}

export function updateArena(
  { arena: { layout }, axis, before, wholeSums }: Placed,
  { rule, rate, settings, ranges, ...now }: ArenaUpdate,
): UpdatedArena {
  const [rateScale, decay] = perElement(settings, layout, axis);
  const summed: Tensor<"arena">[] = [];
  const after = applyRule(rule, {
    ...before,
    ...now,
    rate: mul(rate, rateScale!),
    decay: decay!,
    sumOfEach: (x) => {
      if (!wholeSums) return sumOfEach(x, layout, axis);
      summed.push(x);
      return wholeSums(summed.length - 1);
    },
  });
  return { ...after, parameter: clampRanges(after.parameter, layout, axis, ranges), summed };
}

/** The name of an arena's tensor: unchanged for the first arena, numbered for later ones. */
export const numbered = (name: string, i: number): string => (i === 0 ? name : `${name}.${i}`);
