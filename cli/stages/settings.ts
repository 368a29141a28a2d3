/** The settings of a stage's run, in one flat list: those of any stage, of this stage, and of its model. */
import { UsageError } from "../../compiler/index.ts";
import {
  type Config,
  count,
  type FrozenDType,
  frozenDtypes,
  type LoraOptions,
  type Model,
  notNegative,
  positive,
  precisionNamed,
  type Recipe,
  type SettingRules,
  type Stage,
  type StageRecipe,
  share,
  type TextCodec,
  whole,
  word,
} from "../../dsl/index.ts";
import type { Settings } from "../../runtime/index.ts";
import { flattened } from "../own-config.ts";

/** Settings of every stage, besides steps, batch and rate; empty or 0 keeps the stage's own. */
const runSettings = {
  /** Steps between validations, if `--validate` is given, and the metric that selects the weights in `best/`. */
  validateEvery: 1000,
  best: "loss",
  /** Micro-batches per step. */
  accumulate: 1,
  seed: 0,
  precision: "f32",
  checkpointEvery: 1000,
  checkpointMinutes: 10,
  /** Path patterns separated by commas; + stands for the stage's own. */
  trainable: "",
  /**
   * Default rank and alpha are the stage's own if it has such updates, else 8; alpha / rank is preserved if the rank
   * changes.
   */
  lora: { pattern: "", rank: 0, alpha: 0 },
  /** Decay of the weights' moving average. */
  ema: 0,
  /** Storage of frozen weights: f32, f16 or int8. */
  frozen: "",
  /** The image folder of a list. */
  images: "",
  /** Language of captions that have none. */
  language: "und",
  tokenizer: "",
  /** Shuffle buffer size in samples. */
  buffer: 16_384,
  /** Image decoding threads; -1 chooses by image size and cores. */
  workers: -1,
} satisfies Config;

/** The settings that need `--validate`. */
export const validationSettings = ["validateEvery", "best"] as const;

/** Stored with a run, never set directly. */
const kept = ["model", "stage", "data", "filters", "validate", "preprocessor", "beside"] as const;

export const runRules: SettingRules = {
  accumulate: count,
  validateEvery: count,
  precision: word("f32", "f16"),
  frozen: word("", ...frozenDtypes),
  rate: positive,
  "lora.rank": whole(0, 2 ** 16),
  "lora.alpha": notNegative,
  ema: share,
  buffer: whole(1, 2 ** 24),
  workers: whole(-1, 1024),
};

/** The settings of a stage, in groups, as `--set` reaches them. Throws UsageError if two have the same name. */
export function settingsOf(model: Model, recipe: Recipe): Config {
  const { steps, batch, rate, settings = {} } = recipe;
  const ofStage: Config = { steps, batch, rate, ...runSettings, ...settings };
  const twice = Object.keys(model.config).filter((key) => Object.hasOwn(ofStage, key) || kept.includes(key as "data"));
  if (twice.length > 0)
    throw new UsageError(
      `model ${model.name} has the setting "${twice[0]}", but so has every run of its stage: rename the model's`,
    );
  return { ...ofStage, ...model.config };
}

/** What a run may set of any recipe. */
const general = ["steps", "batch", "rate"] as const;

/** The recipe for the settings of a run. Throws UsageError if it does not follow them. */
export function recipeFor(
  make: StageRecipe<Config>,
  config: Config,
  settings: Settings,
  text: TextCodec | undefined,
): Recipe<Config> {
  const plain = make(config, undefined, text);
  const names = [...general, ...Object.keys(plain.settings ?? {})];
  const made = make(config, Object.fromEntries(names.map((name) => [name, settings[name]])), text);
  const ignored = general.filter(
    (name) => (settings[name] ?? plain[name]) !== plain[name] && made[name] === plain[name],
  );
  if (ignored.length === 0) return made;
  const own = general.map((name) => `${name}: ${plain[name]}`).join(", ");
  throw new UsageError(
    `the recipe of this stage takes no ${ignored.join(" and no ")} from the run, which sets ${ignored.map((name) => `${name}=${settings[name]}`).join(" and ")}\n  hint: const { ${general.join(", ")} } = settled({ ${own} }, given), in (config, given) => ({ ... })`,
  );
}

/** The stage with the run's general settings applied. */
export function withSettings(stage: Stage, given: Settings): Stage {
  const settings = { ...flattened(runSettings), ...given };
  const pattern = String(settings["lora.pattern"]);
  const lora = loraOf(stage, settings);
  const trainable = listed(String(settings.trainable)).flatMap((p) => (p === "+" ? (stage.trainable ?? ["**"]) : [p]));
  // With LoRA alone, only the updates are trained.
  const { trainable: own, ...rest } = stage;
  const chosen = trainable.length > 0 ? trainable : pattern === "" ? own : undefined;
  return {
    ...rest,
    ...(chosen && { trainable: chosen }),
    precision: precisionNamed(String(settings.precision)),
    accumulate: Number(settings.accumulate),
    ...(lora && { lora }),
    ...(settings.frozen !== "" && { frozen: settings.frozen as FrozenDType }),
    ...(settings.ema !== 0 && { ema: { decay: Number(settings.ema) } }),
  };
}

const usualRank = 8;

function loraOf({ lora: own }: Stage, settings: Settings): LoraOptions | undefined {
  const pattern = listed(String(settings["lora.pattern"]));
  if (pattern.length === 0 && !own) return undefined;
  const rank = Number(settings["lora.rank"]) || (own?.rank ?? usualRank);
  const ownAlpha = own && (rank * (own.alpha ?? own.rank)) / own.rank;
  return {
    pattern: pattern.length > 0 ? pattern : own!.pattern,
    rank,
    alpha: Number(settings["lora.alpha"]) || (ownAlpha ?? usualRank),
  };
}

const listed = (text: string): string[] => text.split(",").flatMap((part) => (part.trim() === "" ? [] : [part.trim()]));
