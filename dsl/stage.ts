/** A training stage: which parameters are trained, by which loss and optimizer, in which precision. */
import { type Precision, precisions, UsageError } from "../compiler/index.ts";
import { declarationFault, declaredHere, isPlain, kindOfValue, refuse, strayFields } from "./declared.ts";
import type { EmaOptions } from "./ema.ts";
import type { FrozenDType } from "./frozen.ts";
import type { LoraOptions } from "./lora.ts";
import { type LossResult, lossFault } from "./losses.ts";
import type { AdamOptions } from "./optim/adamw.ts";
import type { Schedule } from "./optim/schedule.ts";
import { aboveZero, adamSettings, anUpdateRule, callback, notNegative, settingFaults } from "./optim/setting-checks.ts";
import type { UpdateRule } from "./optim/update-rule.ts";
import type { Params, Range } from "./params.ts";

/** How parameters are updated. Adam's options (beta1, beta2, epsilon) apply to the default rule only. */
export interface Optimizer extends AdamOptions {
  readonly rate: Schedule;
  /** Default `adamw()`. Others are `adam`, `sgd`, `lamb`, `lion`, and any that `updateRule` makes. */
  readonly rule?: UpdateRule;
  /** Default the rule's own; 0.01 for AdamW. */
  readonly weightDecay?: number;
  /** Clips gradients to this global norm; default no clipping. */
  readonly clip?: number;
  /**
   * Which parameters weight decay applies to; default those that are contracted or looked up, not biases, norms and
   * scales.
   */
  readonly decays?: (name: string) => boolean;
  /** Multiplier of a parameter's learning rate, as for layer-wise decay. Default 1. */
  readonly rateScale?: (name: string) => number;
}

/** A training stage, as `defineStage` makes it. */
export interface Stage {
  readonly kind: "heddle.stage";
  readonly name: string;
  /** Declares inputs, applies the model, and returns the loss. */
  readonly loss: (p: Params) => LossResult;
  /**
   * Path patterns of the parameters to train: `*` matches one part of a path, `**` any number; a leading `!` excludes,
   * in any order: `"!text.**"` alone is everything but the text tower. Default all.
   */
  readonly trainable?: readonly string[];
  readonly optimizer: Optimizer;
  /**
   * Ranges, by path pattern, to which parameters are clamped after each update. Overrides what parameters themselves
   * declare (`within`).
   */
  readonly clamps?: Readonly<Record<string, Range>>;
  /**
   * Linears that train a low-rank update while their weight is frozen. If `trainable` is left out, only the updates are
   * trained. They take the weight's learning rate and decay. A run writes weights with the updates merged.
   */
  readonly lora?: LoraOptions;
  /**
   * A moving average of the trained parameters. A run writes the average, so it is what is evaluated and exported;
   * gradients are taken at the weights themselves, with which a resumed run continues.
   */
  readonly ema?: EmaOptions;
  /**
   * The float type of the forward and backward passes, where the device supports it. Parameters, their gradients,
   * optimizer state, losses and statistics are always f32. Default "f32".
   */
  readonly precision?: Precision;
  /**
   * How frozen weights are stored on the device: "f16" halves and "int8" quarters their memory, with rounding. A run
   * writes them out unchanged, to the bit. Default: as `precision`.
   */
  readonly frozen?: FrozenDType;
  /**
   * With "f16": the loss is multiplied by this and the gradient divided by it, to keep small cotangents from
   * underflowing. A power of two, then fixed. By default it starts at 1024 and adapts: a step with a non-finite
   * gradient is skipped and halves it, and 2000 good steps in a row double it.
   */
  readonly lossScale?: number;
  /**
   * Micro-batches per update; default 1. Each is fed and computed separately, so a large batch needs the memory of a
   * small one, and the step equals that of the large batch: inputs have samples along the axis "batch". A loss that
   * compares samples, such as a contrastive one, needs a second forward pass.
   */
  readonly accumulate?: number;
}

/**
 * A stage, as `trainingStep`, a job or a model's `stages` take it. Throws one UsageError naming every field that is
 * missing, misspelt or of the wrong type.
 */
export function defineStage(stage: Omit<Stage, "kind">): Stage {
  if (!isPlain(stage)) refuse([`a stage must be an object { name, loss, optimizer }, got ${kindOfValue(stage)}`]);
  const { name, loss, optimizer } = stage;
  const at = typeof name === "string" && name !== "" ? `stage "${name}"` : "a stage";
  refuse([
    ...strayFields(at, stage, Object.keys(stageFields)),
    ...(at === "a stage" ? [`a stage needs \`name\`, a string, got ${kindOfValue(name)}`] : []),
    ...(typeof loss === "function"
      ? []
      : [`${at} needs \`loss\`, a function (p) => ({ loss: scalar }), got ${kindOfValue(loss)}`]),
    ...(isPlain(optimizer)
      ? optimizerFaults(`the optimizer of ${at}`, optimizer)
      : [`${at} needs \`optimizer\`, such as { rate: constantRate(1e-3) }, got ${kindOfValue(optimizer)}`]),
    ...settingFaults(at, stage, stageSettings),
  ]);
  const declared = declaredHere();
  return {
    kind: "heddle.stage",
    ...stage,
    loss: (p) => {
      const result = loss(p);
      const fault = lossFault(result);
      if (fault !== undefined) throw declarationFault(declared, `${at}: ${fault}`);
      return result;
    },
  };
}

const stageFields: Readonly<Record<keyof Stage, true>> = {
  kind: true,
  name: true,
  loss: true,
  trainable: true,
  optimizer: true,
  clamps: true,
  lora: true,
  ema: true,
  precision: true,
  frozen: true,
  lossScale: true,
  accumulate: true,
};

const optimizerFields: Readonly<Record<keyof Optimizer, true>> = {
  rate: true,
  rule: true,
  weightDecay: true,
  clip: true,
  decays: true,
  rateScale: true,
  beta1: true,
  beta2: true,
  epsilon: true,
};

/** What settings of a stage must be. */
const stageSettings = {
  trainable: {
    needed: 'a list of path patterns, such as ["**", "!text.**"]',
    accepts: (value: unknown) => Array.isArray(value) && value.every((pattern) => typeof pattern === "string"),
  },
  precision: {
    needed: `one of ${precisions.join(", ")}`,
    accepts: (value: unknown) => precisions.some((precision) => precision === value),
  },
};

/** What settings of an optimizer must be. */
const optimizerSettings = {
  ...adamSettings,
  rule: anUpdateRule,
  weightDecay: notNegative,
  clip: aboveZero,
  decays: callback,
  rateScale: callback,
};

const optimizerFaults = (at: string, { rate, ...rest }: Readonly<Record<string, unknown>>): string[] => [
  ...strayFields(at, rest, Object.keys(optimizerFields)),
  ...settingFaults(at, rest, optimizerSettings),
  ...(typeof rate === "function"
    ? []
    : [`${at} needs \`rate\`, a schedule such as constantRate(1e-3), got ${kindOfValue(rate)}`]),
  ...["weightDecay", "clip", "beta1", "beta2", "epsilon"].flatMap((key) =>
    rest[key] === undefined || Number.isFinite(rest[key])
      ? []
      : [`${at}: ${key} must be a number, got ${kindOfValue(rest[key])}`],
  ),
];

/** The precision that a job's setting names. Throws UsageError for any other. */
export function precisionNamed(text: string): Precision {
  const found = precisions.find((p) => p === text);
  if (!found) throw new UsageError(`precision must be one of ${precisions.join(", ")}, got "${text}"`);
  return found;
}
