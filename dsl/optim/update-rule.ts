/** Update rules: how an optimizer moves parameters, and what it keeps of them from step to step. A value, written in the language. */
import { UsageError } from "../../compiler/index.ts";
import type { Tensor } from "../tensor.ts";

/** What a state starts as: a number in every element, or the parameter's own first value. */
export type StateStart = number | "parameter";

/** What an update reads. The trained parameters lie flat in an arena, one after another, with zeros between them. */
export interface UpdateInputs<S extends string> {
  readonly parameter: Tensor<"arena">;
  /** Of the loss, clipped where the stage says so. */
  readonly gradient: Tensor<"arena">;
  readonly state: Readonly<Record<S, Tensor<"arena">>>;
  /** The number of this update, from 1. An i32 scalar: an f32 counter stays at 2^24. */
  readonly step: Tensor<never>;
  /** The learning rate of each element: that of the schedule times `rateScale` of its parameter. */
  readonly rate: Tensor<"arena">;
  /** The weight decay of each element: 0 where its parameter does not decay. */
  readonly decay: Tensor<"arena">;
  /** Sums over each parameter's own elements, each found at every element of that parameter: what trust ratios are made of. */
  readonly sumOfEach: (x: Tensor<"arena">) => Tensor<"arena">;
}

/** What an update gives: the parameters and all that is kept, anew, f32 [arena] each. */
export interface UpdateResult<S extends string> {
  readonly parameter: Tensor<"arena">;
  readonly state: Readonly<Record<S, Tensor<"arena">>>;
}

/** A rule is all that an optimizer is: stores, checkpoints and memory plans follow the record of its state. */
export interface UpdateRule<S extends string = string> {
  /** What checkpoints call it. */
  readonly name: string;
  /** What is kept of every element, in f32, and what it starts as. Checkpoints have a file for each name. */
  readonly state: Readonly<Record<S, StateStart>>;
  /** The weight decay where a stage does not say; default 0. */
  readonly weightDecay?: number;
  update(now: UpdateInputs<S>): UpdateResult<S>;
}

/** Names that a training step has for other things. */
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

/** A rule whose names are checked. Throws UsageError for a state that cannot have its name. */
export function updateRule<S extends string>(rule: UpdateRule<S>): UpdateRule<S> {
  for (const name of Object.keys(rule.state)) {
    if (!/^[a-z][a-z0-9_]*$/.test(name))
      throw new UsageError(`rule "${rule.name}": "${name}" cannot name a state: use small letters, digits and _`);
    if (taken.includes(name))
      throw new UsageError(`rule "${rule.name}": a state cannot be called "${name}", as the step has one of that name`);
  }
  return rule;
}

/** What a rule makes of its inputs. Throws UsageError where that is not the state that it declares. */
export function applyRule(rule: UpdateRule, now: UpdateInputs<string>): UpdateResult<string> {
  const result = rule.update(now);
  const [declared, made] = [rule.state, result.state].map((s) => Object.keys(s).sort().join(", "));
  if (declared !== made)
    throw new UsageError(`rule "${rule.name}" declares the state [${declared}], its update gives [${made}]`);
  const all: [string, Tensor<"arena">][] = [["parameter", result.parameter], ...Object.entries(result.state)];
  const wrong = all.find(([, x]) => x.type.axes.length !== 1 || x.type.axes[0]!.name !== "arena");
  if (wrong)
    throw new UsageError(`rule "${rule.name}": its new ${wrong[0]} has not the axis [arena] alone; broadcast it`);
  return result;
}
