/** A stage of training: what is learned, by which loss and optimizer, in which precision. */
import { type Precision, precisions, UsageError } from "../compiler/index.ts";
import { declarationFault, declaredHere, isPlain, kindOfValue, refuse, strayFields } from "./declared.ts";
import type { EmaOptions } from "./ema.ts";
import type { FrozenDType } from "./frozen.ts";
import type { LoraOptions } from "./lora.ts";
import { type LossResult, lossFault } from "./losses.ts";
import type { AdamOptions } from "./optim/adamw.ts";
import type { Schedule } from "./optim/schedule.ts";
import type { UpdateRule } from "./optim/update-rule.ts";
import type { Params, Range } from "./params.ts";

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

/** What is learned, by which loss and optimizer, as `defineStage` makes it. */
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
   * What weights that are not learned are kept as on the device: "f16" halves and "int8" quarters their memory, and rounds
   * them there. What a run writes of them is what it was given, to the bit. Default: as `precision`.
   */
  readonly frozen?: FrozenDType;
  /**
   * With "f16": what the loss is multiplied by, and the gradient divided by, so that small cotangents stay above what f16
   * rounds to 0. A power of two, which then is fixed. By default it begins at 1024 and adapts: a step whose gradient is not
   * finite is skipped and halves it, and 2000 good steps in a row double it.
   */
  readonly lossScale?: number;
  /**
   * Micro-batches that one update is made of; default 1. Each is fed and computed by itself, so that a large batch needs
   * the memory of a small one. The step is that of the large batch: samples lie along the axis "batch" of inputs. A loss that
   * compares them, as contrastive ones do, takes a second forward pass.
   */
  readonly accumulate?: number;
}

/**
 * A stage, as `trainingStep`, a job or a model's `stages` take it. Throws one UsageError naming every field that is missing,
 * misspelt or of another kind.
 */
export function defineStage(stage: Omit<Stage, "kind">): Stage {
  if (!isPlain(stage)) refuse([`a stage is an object { name, loss, optimizer }, not ${kindOfValue(stage)}`]);
  const { name, loss, optimizer } = stage;
  const at = typeof name === "string" && name !== "" ? `stage "${name}"` : "a stage";
  refuse([
    ...strayFields(at, stage, Object.keys(stageFields)),
    ...(at === "a stage" ? [`a stage needs \`name\`, a text, not ${kindOfValue(name)}`] : []),
    ...(typeof loss === "function"
      ? []
      : [`${at} needs \`loss\`, a function (p) => ({ loss: scalar }), not ${kindOfValue(loss)}`]),
    ...(isPlain(optimizer)
      ? optimizerFaults(`the optimizer of ${at}`, optimizer)
      : [`${at} needs \`optimizer\`, such as { rate: constantRate(1e-3) }, not ${kindOfValue(optimizer)}`]),
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

const optimizerFaults = (at: string, { rate, ...rest }: Readonly<Record<string, unknown>>): string[] => [
  ...strayFields(at, rest, Object.keys(optimizerFields)),
  ...(typeof rate === "function"
    ? []
    : [`${at} needs \`rate\`, a schedule such as constantRate(1e-3), not ${kindOfValue(rate)}`]),
];

/** The precision that a job's setting names. Throws UsageError for another word. */
export function precisionNamed(text: string): Precision {
  const found = precisions.find((p) => p === text);
  if (!found) throw new UsageError(`precision is one of ${precisions.join(", ")}, not "${text}"`);
  return found;
}
