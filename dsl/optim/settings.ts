/** Optimizer settings of each parameter: rule, rate multiplier, weight decay and clamp range. */
import { type ArenaLayout, didYouMean, inputName, type Node, UsageError } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { kindOfValue } from "../declared.ts";
import { asWeight } from "../lora.ts";
import type { Range } from "../params.ts";
import { matchesPath } from "../path-patterns.ts";
import type { Stage } from "../stage.ts";
import type { Tensor } from "../tensor.ts";
import { adamw } from "./adamw.ts";
import { piecewise } from "./piecewise.ts";
import { notNegative } from "./setting-checks.ts";
import type { UpdateRule } from "./update-rule.ts";

/**
 * The rule of a stage. Throws UsageError for Adam's settings together with another rule, where they would be ignored.
 */
export function ruleOf({ name, optimizer }: Stage): UpdateRule {
  const { rule, beta1, beta2, epsilon } = optimizer;
  if (!rule)
    return adamw({
      ...(beta1 !== undefined && { beta1 }),
      ...(beta2 !== undefined && { beta2 }),
      ...(epsilon !== undefined && { epsilon }),
    });
  const idle = Object.entries({ beta1, beta2, epsilon }).find(([, v]) => v !== undefined);
  if (idle)
    throw new UsageError(
      `stage "${name}": ${idle[0]} has no effect with a rule; write it as ${rule.name}({ ${idle[0]}: ${idle[1]} })`,
    );
  return rule;
}

/** The clamp range of each trained parameter that has one: from the stage, else as declared with the parameter. */
export function rangesOf(
  stage: Stage,
  trained: readonly Node[],
  declared: ReadonlyMap<string, Range>,
): Map<string, Range> {
  const clamps = Object.entries(stage.clamps ?? {});
  const names = trained.map(inputName);
  const idle = clamps.find(([pattern]) => !names.some((n) => matchesPath(pattern, n)));
  if (idle)
    throw new UsageError(
      `stage "${stage.name}": the clamp "${idle[0]}" matches no trained parameter${didYouMean(idle[0], names)}`,
    );
  const ranges = names.flatMap((name): [string, Range][] => {
    const within = clamps.find(([pattern]) => matchesPath(pattern, name))?.[1] ?? declared.get(name);
    return within ? [[name, within]] : [];
  });
  const odd = ranges.find(([, range]) => !Array.isArray(range));
  if (odd)
    throw new UsageError(
      `stage "${stage.name}": the clamp of "${odd[0]}" must be a range [low, high], got ${kindOfValue(odd[1])}`,
    );
  for (const [name, [low, high]] of ranges)
    if (!(Number.isFinite(low) && Number.isFinite(high) && low <= high))
      throw new UsageError(
        `stage "${stage.name}": the clamp of "${name}" must be a range [low, high] of numbers, got [${low}, ${high}]`,
      );
  return new Map(ranges);
}

/** The rate multiplier and the weight decay of one parameter. */
export function settingsOf(stage: Stage, parameter: Node, weights: ReadonlySet<Node>): [number, number] {
  const { optimizer } = stage;
  const name = asWeight(inputName(parameter));
  const decays = optimizer.decays?.(name) ?? weights.has(parameter);
  if (typeof decays !== "boolean")
    throw new UsageError(
      `stage "${stage.name}": decays of "${name}" must be true or false, got ${kindOfValue(decays)}`,
    );
  const weightDecay = optimizer.weightDecay ?? ruleOf(stage).weightDecay ?? 0;
  return [rateScaleOf(stage, name), decays ? weightDecay : 0];
}

/** The multiplier of a parameter's learning rate. Throws UsageError for one that is not a number of at least 0. */
function rateScaleOf({ name, optimizer: { rateScale } }: Stage, parameter: string): number {
  const scale = rateScale ? rateScale(parameter) : 1;
  if (notNegative.accepts(scale)) return scale;
  throw new UsageError(
    `stage "${name}": rateScale of "${parameter}" must be ${notNegative.needed}, got ${kindOfValue(scale)}`,
  );
}

/** The settings of every trained parameter, by name. */
export const settingsByName = (stage: Stage, trained: readonly Node[], weights: ReadonlySet<Node>) =>
  new Map(trained.map((n) => [inputName(n), settingsOf(stage, n, weights)]));

/** Rate multiplier and decay of every element of an arena. */
export function perElement(
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
