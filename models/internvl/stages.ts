/**
 * The training stages of the InternVL family, with the published settings. Chen et al. 2023, arXiv:2312.14238, sections
 * 3.3 and 4.1, tables 20 to 23, and the released scripts. Choices for unpublished settings are marked.
 */
import {
  add,
  bareIds,
  cosine,
  defineStage,
  type LoraOptions,
  partOf,
  probability,
  type Recipe,
  rulePath,
  type Schedule,
  type SettingRules,
  type StageRecipe,
  type StageValidation,
  scaledWarmUp,
  settled,
  share,
  type TensorRule,
  whole,
  word,
} from "../../dsl/index.ts";
import { type ChatConfig, hasQueries, packedStageThreeLoss, stageThreeLoss, visualTokenCount } from "./chat.ts";
import { internlmTemplate, plainTemplate, trainingTemplates, vicunaTemplate } from "./chat-templates.ts";
import {
  type ContrastiveConfig,
  idsInput,
  imageEmbedding,
  internvlCConfig,
  stageOneLoss,
  textEmbedding,
} from "./contrastive.ts";
import { type GenerativeConfig, imageEmbeddingG, internvlGConfig } from "./generative.ts";
import { retrievalLoss, type StageTwoOptions, stageTwoLoss } from "./generative-losses.ts";
import { pixelsInput, type VisionConfig } from "./internvit.ts";
import { chatData, contrastiveData, contrastivePrefix, generativeData, retrievalData } from "./stage-data.ts";
import { chatRules, generativeRules } from "./weights.ts";

/**
 * Whether weight decay applies to a parameter: as in the published code, to all but one-dimensional stored tensors, so
 * not to biases, norms and LayerScale, however many axes these have here; but to `logit_scale`, which has none.
 * Released code: trainer_monkey_patch.py.
 */
export function decaysAsStored(rules: readonly TensorRule[]): (path: string) => boolean {
  const ranks = new Map(rules.map((r) => [r.path, r.axes === "" ? 0 : r.axes.split(" ").length]));
  return (path) => (ranks.get(path) ?? ranks.get(rulePath(path)) ?? 1) !== 1;
}

/** The common part of every recipe of the family. */
export function recipeOf<S extends { readonly steps: number; readonly batch: number; readonly rate: number }>(
  s: S,
  notes: readonly string[] = [],
) {
  const { steps, batch, rate, ...settings } = s;
  return { steps, batch, rate, settings: settings as Omit<S, "steps" | "batch" | "rate">, rules: commonRules, notes };
}

/**
 * The model at another resolution. Its positions are of that grid, and those of the initial weights are resized once,
 * except in a chat, where they keep the weights' grid.
 */
function seenAt<C extends { readonly vision: VisionConfig }>(
  c: C,
  image: number,
  changes: Partial<VisionConfig> = {},
  keepsPositions = false,
): C {
  const { vision } = c;
  return withVision(
    c,
    image === vision.image
      ? changes
      : { image, positions: keepsPositions ? vision.positions || vision.image : 0, ...changes },
  );
}

const withVision = <C extends { readonly vision: VisionConfig }>(c: C, changes: Partial<VisionConfig>): C => ({
  ...c,
  vision: { ...c.vision, ...changes } as VisionConfig,
});

/** A stage whose model defaults to the published one. */
type StageByDefault<C> = (config?: C, ...rest: Tail<Parameters<StageRecipe<C>>>) => Recipe<C>;
type Tail<T extends unknown[]> = T extends [unknown, ...infer R] ? R : never;

const [stageOneBatch, stageOneSteps] = [163_840, 175_000];
/** The last 0.5 B samples are at 224 pixels, without patch dropping. */
const stageOneFullSteps = Math.ceil(0.5e9 / stageOneBatch);

const stageOneOptimizer = (rate: Schedule) => ({
  // The image tower's rate; a tenth of it for the text tower.
  rate,
  rateScale: (path: string) => (/^(qllama|text_projection)\./.test(path) ? 0.1 : 1),
  decays: decaysAsStored(generativeRules),
  beta1: 0.9,
  beta2: 0.95,
  weightDecay: 0.1,
});

/** Rules of settings that several stages have. */
const commonRules: SettingRules = {
  resolution: whole(1, 2 ** 14),
  dropPath: share,
  keep: partOf,
  crop: partOf,
  flip: probability,
};

/** Stage 1, first phase: everything is trained, at 196 pixels, half of the patches dropped. */
export const stageOne: StageByDefault<ContrastiveConfig> = (c = internvlCConfig, given, text) => {
  const steps = stageOneSteps - stageOneFullSteps;
  const published = {
    ...{ steps, batch: stageOneBatch, rate: 1e-3 },
    ...{
      resolution: 14 * c.vision.patch,
      keep: 0.5,
      dropPath: 0.2,
      crop: 0.5,
      flip: 0,
      prefix: contrastivePrefix(text),
    },
  };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(5_000, steps, s.steps);
  const config = seenAt(c, s.resolution, { dropPath: s.dropPath, dropPathRule: "uniform" });
  // The schedule spans both phases, of which this is the larger.
  const all = Math.max(s.steps, Math.round((s.steps * stageOneSteps) / steps));
  return {
    ...recipeOf(s, notes),
    config,
    stage: defineStage({
      name: "stage-1",
      loss: (p) => reported(stageOneLoss(p, config, { keep: s.keep })),
      optimizer: stageOneOptimizer(cosine({ peak: s.rate, steps: all, warmup })),
    }),
    data: contrastiveData(config, s),
    validation: foundByTowers(config),
    startsFrom: ["multilingual LLaMA-7B"],
  };
};

/** Training without patch dropping at the model's own resolution, with its own schedule or as the end of one. */
const unmasked =
  (steps: number, before: number): StageByDefault<ContrastiveConfig> =>
  (c = internvlCConfig, given, text) => {
    const published = {
      ...{ steps, batch: stageOneBatch, rate: 1e-3 },
      ...{ resolution: c.vision.image, dropPath: 0.2, crop: 0.5, flip: 0, prefix: contrastivePrefix(text) },
    };
    const s = settled(published, given);
    const config = seenAt(c, s.resolution, { dropPath: s.dropPath, dropPathRule: "uniform" });
    const done = Math.round((s.steps * before) / steps);
    const { warmup, notes } = scaledWarmUp(5_000, steps + before, s.steps + done);
    const whole = cosine({ peak: s.rate, steps: s.steps + done, warmup });
    return {
      ...recipeOf(s, done === 0 ? notes : [`schedule: the last ${s.steps} of ${s.steps + done} steps of both phases`]),
      config,
      stage: defineStage({
        name: "stage-1-full",
        loss: (p) => reported(stageOneLoss(p, config)),
        optimizer: stageOneOptimizer((step) => whole(done === 0 ? step : add(step, done))),
      }),
      data: contrastiveData(config, s),
      validation: foundByTowers(config),
      startsFrom: [done === 0 ? "multilingual LLaMA-7B" : "stage 1, first phase"],
    };
  };

/** Stage 1 in one phase, at the model's own resolution. */
export const stageOneAlone = unmasked(stageOneSteps, 0);

/** Stage 1, last phase: continues the schedule of the first. */
export const stageOneFull = unmasked(stageOneFullSteps, stageOneSteps - stageOneFullSteps);

/** Image and text embeddings of InternVL-C, for validation. */
const foundByTowers =
  (c: ContrastiveConfig): StageValidation =>
  (p) => ({
    found: { image: imageEmbedding(p, pixelsInput(c.vision), c), text: textEmbedding(p, idsInput(c.text), c) },
  });

/** Image and text embeddings of InternVL-G, for validation. */
const foundWithQueries =
  (c: GenerativeConfig): StageValidation =>
  (p) => ({
    found: { image: imageEmbeddingG(p, pixelsInput(c.vision), c), text: textEmbedding(p, idsInput(c.text), c) },
  });

const reported = ({ loss, scale }: ReturnType<typeof stageOneLoss>) => ({ loss, metrics: { scale } });

/** What stage 2 trains; all else is frozen, and the backward pass stops there. */
export const stageTwoTrainable: readonly string[] = [
  "query_tokens",
  "qllama.model.layers.*.cross_attn.**",
  "clip_projector2.**",
  "itm_head.*",
  "logit_scale",
];

/** Stage 2: queries, cross-attention and the new heads. */
export const stageTwo: StageByDefault<GenerativeConfig> = (c = internvlGConfig, given, text) => {
  const published = {
    ...{ steps: 80_000, batch: 20_480, rate: 5e-5 },
    ...{ resolution: c.vision.image, negatives: "supplied", labels: "caption", labelSmoothing: 0 },
    ...{ crop: 0.5, flip: 0, prefix: contrastivePrefix(text), prompt: "{language} caption:" },
  };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(2_000, published.steps, s.steps);
  const config = seenAt(c, s.resolution);
  const options: StageTwoOptions = {
    // BOS, the prefix, and EOS; with the published tokenizer's count if none is given.
    emptyContrastive: 1 + (text ? bareIds(text, s.prefix).length : 3),
    labelSmoothing: s.labelSmoothing,
    negatives: s.negatives === "mined" ? "mined" : "supplied",
    labels: s.labels === "released" ? "released" : "caption",
  };
  return {
    ...recipeOf(s, notes),
    rules: {
      ...commonRules,
      negatives: word("supplied", "mined"),
      labels: word("caption", "released"),
      labelSmoothing: share,
      batch: whole(2, Number.MAX_SAFE_INTEGER),
    },
    config,
    stage: defineStage({
      name: "stage-2",
      loss: (p) => stageTwoLoss(p, config, options),
      trainable: stageTwoTrainable,
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
        decays: decaysAsStored(generativeRules),
        beta1: 0.9,
        beta2: 0.98,
        weightDecay: 0.05,
      },
    }),
    data: generativeData(config, s),
    validation: foundWithQueries(config),
    startsFrom: ["stage 1"],
  };
};

/** What stage 3 trains: the MLP (both in path B), the language model or low-rank updates of its linears, QLLaMA. */
export type ChatTrainable = "glue" | "decoder" | "glue+decoder" | "glue+qllama" | "lora";

const glue = "model.mm_projector.**";
const decoderParts: readonly string[] = ["model.**", "lm_head.*"];

interface ChatPart {
  readonly trainable: readonly string[];
  readonly rate: number;
  readonly lora?: LoraOptions;
  readonly rateScale?: (path: string) => number;
}

const chatParts: Readonly<Record<ChatTrainable, ChatPart>> = {
  glue: { trainable: [glue], rate: 1e-3 },
  decoder: { trainable: [...decoderParts, `!${glue}`], rate: 2e-5 },
  "glue+decoder": { trainable: decoderParts, rate: 2e-5 },
  "glue+qllama": { trainable: [glue, "query_tokens", "qllama.**"], rate: 2e-5 },
  // InternVL publishes no LoRA settings: these are LLaVA-1.5's finetune_lora.sh, with the MLP at a tenth of their rate.
  lora: {
    trainable: [glue],
    rate: 2e-4,
    lora: { pattern: "model.layers.**", rank: 128, alpha: 256 },
    rateScale: (path) => (path.startsWith("model.mm_projector.") ? 0.1 : 1),
  },
};

const isPart = (part: unknown): part is ChatTrainable => Object.hasOwn(chatParts, part as string);

/** The published settings of a training phase of path A or B, and its template. */
interface ChatStep {
  readonly part: ChatTrainable;
  readonly batch: number;
  readonly samples: number;
  /** Default the language model's own. */
  readonly template?: string;
}

/** InternLM's template if attention has biases, which only InternLM's has, else Vicuna's. */
const ownTemplate = (c: ChatConfig): string => (c.text.attentionBias ? internlmTemplate : vicunaTemplate).name;

const chatStep =
  ({ part, batch, samples, template }: ChatStep): StageRecipe<ChatConfig> =>
  (c, given) => {
    const chosen = isPart(given?.part) ? given.part : part;
    const { rate, trainable, lora, rateScale } = chatParts[chosen];
    const published = {
      ...{ steps: Math.ceil(samples / batch), batch, rate, part },
      ...{ resolution: c.vision.image, length: c.text.context || 2048, template: template ?? ownTemplate(c) },
      ...{ tooLong: "cut", packed: 1 },
    };
    const s = settled(published, given);
    const seen = seenAt(c, s.resolution, undefined, true);
    const config: ChatConfig = { ...seen, text: { ...seen.text, context: s.length } };
    const written = trainingTemplates.find((t) => t.name === s.template) ?? vicunaTemplate;
    return {
      ...recipeOf(s),
      rules: {
        ...commonRules,
        part: word(...Object.keys(chatParts).filter((name) => hasQueries(c) || !name.includes("qllama"))),
        length: whole(visualTokenCount(config) + 2, 2 ** 20),
        template: word(...trainingTemplates.map((t) => t.name)),
        tooLong: word("cut", "drop"),
        packed: whole(1, 1024),
      },
      config,
      stage: defineStage({
        name: `stage-3-${chosen}`,
        loss: (p) => (s.packed > 1 ? packedStageThreeLoss(p, config, s.packed) : stageThreeLoss(p, config)),
        trainable,
        ...(lora && { lora }),
        optimizer: {
          ...(rateScale && { rateScale }),
          rate: cosine({ peak: s.rate, steps: s.steps, warmup: Math.ceil(0.03 * s.steps) }),
          decays: decaysAsStored(chatRules),
          weightDecay: 0,
          clip: 1, // the default of transformers' TrainingArguments, which LLaVA's scripts keep
        },
      }),
      data: chatData(config, { template: written, tooLong: s.tooLong, packed: s.packed }),
      startsFrom: part === "glue" ? ["stage 2", "the language model"] : ["stage 3, glue"],
    };
  };

/** Stage 3, path A: the MLP on LGS-558K, then the MLP and the language model on LLaVA-Mix-665K. */
export const patchSteps: readonly StageRecipe<ChatConfig>[] = [
  chatStep({ part: "glue", batch: 256, samples: 558_000, template: plainTemplate.name }),
  chatStep({ part: "glue+decoder", batch: 128, samples: 665_000 }),
];

/**
 * Stage 3, path B: the MLPs on 4 M instructions; then with the language model, or with QLLaMA. Learning rates are not
 * published for this path: these are path A's.
 */
export const querySteps: readonly StageRecipe<ChatConfig>[] = (["glue", "glue+decoder", "glue+qllama"] as const).map(
  (part) => chatStep({ part, batch: 512, samples: 3_990_000 }),
);

/**
 * Layer-wise decay of a parameter's learning rate: blocks by their distance from the last one, embeddings one further
 * than the first block, heads 1. Released code: trainer_monkey_patch.py.
 */
export function layerwiseRate(c: GenerativeConfig, decay: number): (path: string) => number {
  return (path) => {
    const block = /^vision_model\.encoder\.layers\.(\d+)\./.exec(path);
    if (block) return decay ** (c.vision.depth - Number(block[1]));
    if (path.startsWith("vision_model.")) return decay ** (c.vision.depth + 1);
    const layer = /^qllama\.model\.layers\.(\d+)\./.exec(path);
    if (layer) return decay ** (c.text.depth - Number(layer[1]));
    const early = path.startsWith("qllama.model.embed_tokens.") || path === "query_tokens" || path === "logit_scale";
    return early ? decay ** (c.text.depth + 1) : 1;
  };
}

/**
 * Fine-tuning for retrieval at 364 pixels; Flickr30K has 145,000 training captions, seen 10 times. Trains the positions
 * of the 26 × 26 grid: those of the initial weights are resized once at loading.
 */
export const retrievalTuning: StageByDefault<GenerativeConfig> = (c = internvlGConfig, given, text) => {
  const published = {
    ...{ steps: Math.ceil(1_450_000 / 1024), batch: 1024, rate: 1e-6 },
    ...{ resolution: 26 * c.vision.patch, dropPath: 0.3, rateDecay: 0.9 },
    ...{ crop: 0.5, flip: 0.5, prefix: contrastivePrefix(text) },
  };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(100, published.steps, s.steps);
  const config = seenAt(c, s.resolution, { dropPath: s.dropPath, dropPathRule: "linear" });
  return {
    ...recipeOf(s, notes),
    rules: { ...commonRules, rateDecay: partOf, batch: whole(2, Number.MAX_SAFE_INTEGER) },
    config,
    stage: defineStage({
      name: "retrieval",
      loss: (p) => retrievalLoss(p, config),
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
        rateScale: layerwiseRate(c, s.rateDecay),
        decays: decaysAsStored(generativeRules),
        weightDecay: 0.05,
        clip: 1, // the default of transformers' Trainer, which the released code uses
      },
    }),
    data: retrievalData(config, s),
    validation: foundWithQueries(config),
    startsFrom: ["stage 2"],
  };
};
