/** Recipes: stages of training as models publish them, with what a run may set instead. */
import type { Config } from "./config.ts";
import type { StageData, TextCodec } from "./samples.ts";
import type { SettingRules } from "./setting-rules.ts";
import type { Stage } from "./stage.ts";
import type { StageValidation } from "./validation.ts";

/** The value of a stage's setting. */
export type StageSetting = number | string | boolean;

/** What a run says of a stage: these three of any stage, and by name what a stage has besides. */
export interface StageSettings {
  /** All steps: schedules end with them, and warm-ups are as large a part of them as was published. */
  readonly steps?: number;
  /** Samples of one step, over all devices. */
  readonly batch?: number;
  /** The largest learning rate. */
  readonly rate?: number;
  readonly [name: string]: StageSetting | undefined;
}

/** A stage with what surrounds it. */
export interface Recipe<C = Config> {
  /** The model as this stage has it: resolution and drop path are the stage's. */
  readonly config: C;
  readonly stage: Stage;
  /** Samples of one step, over all devices; as published where the run does not say. */
  readonly batch: number;
  readonly steps: number;
  /** The largest learning rate. */
  readonly rate: number;
  /** Settings that this stage has besides, with what they are. */
  readonly settings?: Readonly<Record<string, StageSetting>>;
  /** What those may be. */
  readonly rules?: SettingRules;
  /** For people: what follows from the settings of the run. */
  readonly notes?: readonly string[];
  /** Where the weights come from; what no source has is initialized. */
  readonly startsFrom: readonly string[];
  /** What it is fed; a stage without can be inspected and tuned, and trained by a job of one's own. */
  readonly data?: StageData;
  /** What `--validate` measures beside the loss. */
  readonly validation?: StageValidation;
}

/** A stage of a model; the texts' codec is known where a run has one. */
export type StageRecipe<C> = (config: C, given?: StageSettings, text?: TextCodec) => Recipe<C>;

/** What is published of a stage, or what a run says instead. */
export const settled = <S extends Readonly<Record<string, StageSetting>>>(published: S, given: StageSettings = {}): S =>
  ({
    ...published,
    ...Object.fromEntries(Object.keys(published).flatMap((k) => (given[k] === undefined ? [] : [[k, given[k]]]))),
  }) as S;

/** A warm-up in steps, and what is told of it. */
export interface WarmUp {
  readonly warmup: number;
  readonly notes: readonly string[];
}

/** A published warm-up as the same part of another number of steps, which is told. */
export function scaledWarmUp(warmup: number, published: number, steps: number): WarmUp {
  if (steps === published) return { warmup, notes: [] };
  const scaled = Math.min(steps, Math.ceil((warmup * steps) / published));
  return {
    warmup: scaled,
    notes: [`warm-up: ${scaled} of ${steps} steps, as ${warmup} of the published ${published}`],
  };
}
