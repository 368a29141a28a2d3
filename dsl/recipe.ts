/** Recipes: training stages as published, with the settings that a run may override. */
import type { Config } from "./config.ts";
import type { StageData, TextCodec } from "./samples.ts";
import type { SettingRules } from "./setting-rules.ts";
import type { Stage } from "./stage.ts";
import type { StageValidation } from "./validation.ts";

/** A value of a stage's setting. */
export type StageSetting = number | string | boolean;

/** The settings that a run overrides: these three for any stage, others by name. */
export interface StageSettings {
  /** Total steps: schedules end there, and warm-ups scale in proportion to the published ones. */
  readonly steps?: number;
  /** Samples of one step, over all devices. */
  readonly batch?: number;
  /** The largest learning rate. */
  readonly rate?: number;
  readonly [name: string]: StageSetting | undefined;
}

/** A stage with its model configuration, data and defaults. */
export interface Recipe<C = Config> {
  /** The model's configuration in this stage, which sets, for example, resolution and drop path. */
  readonly config: C;
  readonly stage: Stage;
  /** Samples of one step, over all devices: the published number unless the run sets it. */
  readonly batch: number;
  readonly steps: number;
  /** The largest learning rate. */
  readonly rate: number;
  /** Further settings of this stage, with their values. */
  readonly settings?: Readonly<Record<string, StageSetting>>;
  /** Rules of those settings. */
  readonly rules?: SettingRules;
  /** Messages about what follows from the run's settings. */
  readonly notes?: readonly string[];
  /** Sources of the initial weights; parameters that no source has are initialized. */
  readonly startsFrom: readonly string[];
  /** Its training data; a stage without can be inspected and tuned, and trained by a custom job. */
  readonly data?: StageData;
  /** What `--validate` measures besides the loss. */
  readonly validation?: StageValidation;
}

/** Makes the recipe of a model's stage; `text` is the run's tokenizer, if it has one. */
export type StageRecipe<C> = (config: C, given?: StageSettings, text?: TextCodec) => Recipe<C>;

/** The published settings of a stage, overridden by those that the run gives. */
export const settled = <S extends Readonly<Record<string, StageSetting>>>(published: S, given: StageSettings = {}): S =>
  ({
    ...published,
    ...Object.fromEntries(Object.keys(published).flatMap((k) => (given[k] === undefined ? [] : [[k, given[k]]]))),
  }) as S;

/** A warm-up in steps, and notes about it. */
export interface WarmUp {
  readonly warmup: number;
  readonly notes: readonly string[];
}

/** Scales a published warm-up to another number of steps, and notes the change. */
export function scaledWarmUp(warmup: number, published: number, steps: number): WarmUp {
  if (steps === published) return { warmup, notes: [] };
  const scaled = Math.min(steps, Math.ceil((warmup * steps) / published));
  return {
    warmup: scaled,
    notes: [`warmup: ${scaled} of ${steps} steps, scaled from the published ${warmup} of ${published}`],
  };
}
