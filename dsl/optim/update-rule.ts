/** Update rules: how an optimizer updates parameters, and its state. A rule is a value, written in the DSL. */
import { UsageError } from "../../compiler/index.ts";
import { isPlain, kindOfValue, refuse, strayFields } from "../declared.ts";
import type { Tensor } from "../tensor.ts";
import { notNegative, settingFaults } from "./setting-checks.ts";

/** The initial value of a state: a number for every element, or the parameter's initial value. */
export type StateStart = number | "parameter";

/**
 * The inputs of an update. Trained parameters are flattened into an arena, one after another, with zero padding
 * between.
 */
export interface UpdateInputs<S extends string> {
  readonly parameter: Tensor<"arena">;
  /** The gradient of the loss, clipped if the stage says so. */
  readonly gradient: Tensor<"arena">;
  readonly state: Readonly<Record<S, Tensor<"arena">>>;
  /** The number of this update, from 1. An i32 scalar, as an f32 counter would stop at 2^24. */
  readonly step: Tensor<never>;
  /** The learning rate of each element: the schedule's times `rateScale` of its parameter. */
  readonly rate: Tensor<"arena">;
  /** The weight decay of each element: 0 where its parameter does not decay. */
  readonly decay: Tensor<"arena">;
  /** The sum over each parameter, broadcast to all its elements, for trust ratios. */
  readonly sumOfEach: (x: Tensor<"arena">) => Tensor<"arena">;
}

/** The result of an update: new parameters and state, f32 [arena] each. */
export interface UpdateResult<S extends string> {
  readonly parameter: Tensor<"arena">;
  readonly state: Readonly<Record<S, Tensor<"arena">>>;
}

/** Fully defines an optimizer: stores, checkpoints and memory plans follow from its `state`. */
export interface UpdateRule<S extends string = string> {
  /** The name in checkpoints. */
  readonly name: string;
  /** The per-element states, in f32, and their initial values. Checkpoints have a file for each name. */
  readonly state: Readonly<Record<S, StateStart>>;
  /** Default weight decay, if a stage sets none; default 0. */
  readonly weightDecay?: number;
  update(now: UpdateInputs<S>): UpdateResult<S>;
}

/** Names that a training step uses for other things. */
const taken = [
  "parameters",
  "average",
  "step",
  "loss",
  "rate",
  "gradient_norm",
  "loss_scale",
  "good_steps",
  "skipped",
  "gradients",
];

const ruleFields: Readonly<Record<keyof UpdateRule, true>> = {
  name: true,
  state: true,
  weightDecay: true,
  update: true,
};

/**
 * A checked update rule. Throws UsageError naming every field that is missing, misspelt or of the wrong type, and for
 * an invalid or reserved name of a state.
 */
export function updateRule<S extends string>(rule: UpdateRule<S>): UpdateRule<S> {
  if (!isPlain(rule)) refuse([`an update rule must be an object { name, state, update }, got ${kindOfValue(rule)}`]);
  const at = typeof rule.name === "string" ? `the rule "${rule.name}"` : "an update rule";
  const starts = isPlain(rule.state) ? Object.entries(rule.state) : [];
  refuse([
    ...strayFields(at, rule, Object.keys(ruleFields)),
    ...(typeof rule.name === "string" ? [] : [`${at} needs \`name\`, a string, got ${kindOfValue(rule.name)}`]),
    ...(isPlain(rule.state)
      ? []
      : [`${at} needs \`state\`, such as { mean: 0 } or {}, got ${kindOfValue(rule.state)}`]),
    ...(typeof rule.update === "function"
      ? []
      : [`${at} needs \`update\`, a function, got ${kindOfValue(rule.update)}`]),
    ...starts.flatMap(([name, start]) =>
      start === "parameter" || Number.isFinite(start)
        ? []
        : [`the state "${name}" of ${at} starts as a number or "parameter", got ${kindOfValue(start)}`],
    ),
    ...settingFaults(at, rule, { weightDecay: notNegative }),
  ]);
  for (const name of Object.keys(rule.state)) {
    if (!/^[a-z][a-z0-9_]*$/.test(name))
      throw new UsageError(
        `rule "${rule.name}": "${name}" is not a valid state name: use lowercase letters, digits and _`,
      );
    if (taken.includes(name))
      throw new UsageError(
        `rule "${rule.name}": the state name "${name}" is already used by the step: choose another name`,
      );
  }
  return rule;
}

/** Applies a rule. Throws UsageError if the result does not match the declared state. */
export function applyRule(rule: UpdateRule, now: UpdateInputs<string>): UpdateResult<string> {
  const result = rule.update(now);
  if (!isPlain(result) || !isPlain(result.state))
    throw new UsageError(
      `the update of rule "${rule.name}" must return { parameter, state }, got ${isPlain(result) ? `a state that is ${kindOfValue(result.state)}` : kindOfValue(result)}`,
    );
  const [declared, made] = [rule.state, result.state].map((s) => Object.keys(s).sort().join(", "));
  if (declared !== made)
    throw new UsageError(`rule "${rule.name}" declares the states [${declared}], but its update returns [${made}]`);
  const all: [string, Tensor<"arena">][] = [["parameter", result.parameter], ...Object.entries(result.state)];
  const wrong = all.find(([, x]) => x.type.axes.length !== 1 || x.type.axes[0]!.name !== "arena");
  if (wrong)
    throw new UsageError(`rule "${rule.name}": the new ${wrong[0]} must have the single axis [arena]; broadcast it`);
  return result;
}
