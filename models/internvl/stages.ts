/**
 * The stages that make the InternVL family, with the published settings. Chen et al. 2023, arXiv:2312.14238, sections 3.3
 * and 4.1, tables 20 to 23, and the released scripts. What is not published is said where it is chosen.
 */
import { cosine, defineStage, type Stage } from "../../dsl/index.ts";
import {
  type ChatConfig,
  type ChatQueriesConfig,
  chatConfig,
  chatQueriesConfig,
  stageThreeLoss,
  vicuna13b,
} from "./chat.ts";
import { type ContrastiveConfig, internvlCConfig, stageOneLoss } from "./contrastive.ts";
import { type GenerativeConfig, internvlGConfig } from "./generative.ts";
import { retrievalLoss, stageTwoLoss } from "./generative-losses.ts";
import type { VisionConfig } from "./internvit.ts";
import { rulePath, type TensorRule } from "./layout.ts";
import { chatRules, generativeRules } from "./weights.ts";

/** A stage with what surrounds it. */
export interface Recipe<C> {
  /** The model as this stage has it: resolution and drop path are the stage's. */
  readonly config: C;
  readonly stage: Stage;
  /** Samples of one step, over all devices. */
  readonly batch: number;
  readonly steps: number;
  /** Where the weights come from; what no source has is initialized. */
  readonly startsFrom: readonly string[];
}

/**
 * Whether weight decay acts on a parameter: as in the published code, on all but tensors of one dimension as they are
 * stored, so not on biases, norms and LayerScale, however many axes these have here; but on `logit_scale`, which has none.
 * Released code: trainer_monkey_patch.py.
 */
export function decaysAsStored(rules: readonly TensorRule[]): (path: string) => boolean {
  const ranks = new Map(rules.map((r) => [r.path, r.axes === "" ? 0 : r.axes.split(" ").length]));
  return (path) => (ranks.get(rulePath(path)) ?? 1) !== 1;
}

const withVision = <C extends { readonly vision: VisionConfig }>(c: C, changes: Partial<VisionConfig>): C => ({
  ...c,
  vision: { ...c.vision, ...changes } as VisionConfig,
});

const [stageOneBatch, stageOneSteps] = [163_840, 175_000];
/** The last 0.5 B samples are seen at 224 pixels, unmasked. */
const stageOneFullSteps = Math.ceil(0.5e9 / stageOneBatch);

const stageOneOptimizer = {
  // 1e-3 for the image side, a tenth of it for the text side.
  rate: cosine({ peak: 1e-3, steps: stageOneSteps, warmup: 5_000 }),
  rateScale: (path: string) => (/^(qllama|text_projection)\./.test(path) ? 0.1 : 1),
  decays: decaysAsStored(generativeRules),
  beta1: 0.9,
  beta2: 0.95,
  weightDecay: 0.1,
};

/** Stage 1, first phase: everything is trained, at 196 pixels, half of the patches dropped. */
export function stageOne(c: ContrastiveConfig = internvlCConfig): Recipe<ContrastiveConfig> {
  const config = withVision(c, { image: 14 * c.vision.patch, positions: 0, dropPath: 0.2, dropPathRule: "uniform" });
  return {
    config,
    stage: defineStage({
      name: "stage-1",
      loss: (p) => reported(stageOneLoss(p, config, { keep: 0.5 })),
      optimizer: stageOneOptimizer,
    }),
    batch: stageOneBatch,
    steps: stageOneSteps - stageOneFullSteps,
    startsFrom: ["multilingual LLaMA-7B"],
  };
}

/** Stage 1, last phase: all patches at the model's own resolution; the schedule goes on. */
export function stageOneFull(c: ContrastiveConfig = internvlCConfig): Recipe<ContrastiveConfig> {
  const config = withVision(c, { dropPath: 0.2, dropPathRule: "uniform" });
  const loss = defineStage({
    name: "stage-1-full",
    loss: (p) => reported(stageOneLoss(p, config)),
    optimizer: stageOneOptimizer,
  });
  return { config, stage: loss, batch: stageOneBatch, steps: stageOneFullSteps, startsFrom: ["stage 1"] };
}

const reported = ({ loss, scale }: ReturnType<typeof stageOneLoss>) => ({ loss, metrics: { scale } });

/** What stage 2 trains; all else is frozen, and nothing below it is differentiated. */
export const stageTwoTrainable: readonly string[] = [
  "query_tokens",
  "qllama.model.layers.*.cross_attn.**",
  "clip_projector2.**",
  "itm_head.*",
  "logit_scale",
];

/** Stage 2: queries, cross-attention and the new heads. */
export function stageTwo(c: GenerativeConfig = internvlGConfig): Recipe<GenerativeConfig> {
  const steps = 80_000;
  return {
    config: c,
    stage: defineStage({
      name: "stage-2",
      loss: (p) => stageTwoLoss(p, c),
      trainable: stageTwoTrainable,
      optimizer: {
        rate: cosine({ peak: 5e-5, steps, warmup: 2_000 }),
        decays: decaysAsStored(generativeRules),
        beta1: 0.9,
        beta2: 0.98,
        weightDecay: 0.05,
      },
    }),
    batch: 20_480,
    steps,
    startsFrom: ["stage 1"],
  };
}

export type ChatTrainable = "glue" | "glue+decoder" | "glue+qllama";

const chatTrainable: Readonly<Record<ChatTrainable, readonly string[]>> = {
  glue: ["model.mm_projector.**"],
  "glue+decoder": ["model.**", "lm_head.*"],
  "glue+qllama": ["model.mm_projector.**", "query_tokens", "qllama.**"],
};

const recipeOfChat = (config: ChatConfig, part: ChatTrainable, batch: number, samples: number): Recipe<ChatConfig> => {
  const steps = Math.ceil(samples / batch);
  return {
    config,
    stage: defineStage({
      name: `stage-3-${part}`,
      loss: (p) => stageThreeLoss(p, config),
      trainable: chatTrainable[part],
      optimizer: {
        rate: cosine({ peak: part === "glue" ? 1e-3 : 2e-5, steps, warmup: Math.ceil(0.03 * steps) }),
        decays: decaysAsStored(chatRules),
        weightDecay: 0,
      },
    }),
    batch,
    steps,
    startsFrom: part === "glue" ? ["stage 2", "the language model"] : ["stage 3, glue"],
  };
};

/** Stage 3, path A: the MLP on LGS-558K, then the MLP with the language model on LLaVA-Mix-665K. */
export const stageThreePatches = (c: ChatConfig = chatConfig(vicuna13b)): readonly Recipe<ChatConfig>[] => [
  recipeOfChat(c, "glue", 256, 558_000),
  recipeOfChat(c, "glue+decoder", 128, 665_000),
];

/**
 * Stage 3, path B: the MLPs on 4 M instructions; then the language model, or QLLaMA, beside them. Learning rates are not
 * published for this path: those of path A.
 */
export const stageThreeQueries = (
  c: ChatQueriesConfig = chatQueriesConfig(vicuna13b),
): readonly Recipe<ChatConfig>[] => [
  recipeOfChat(c, "glue", 512, 3_990_000),
  recipeOfChat(c, "glue+decoder", 512, 3_990_000),
  recipeOfChat(c, "glue+qllama", 512, 3_990_000),
];

/**
 * The factor of a parameter's learning rate under layer-wise decay: blocks by their distance from the last one, what is
 * before the first block one further, heads 1. Released code: trainer_monkey_patch.py.
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
 * Fine-tuning for retrieval at 364 pixels; Flickr30K has 145,000 captions for training, seen 10 times. The positions of the
 * grid of 26 are what is trained: those of the weights that it starts from are resized once, when they are read.
 */
export function retrievalTuning(c: GenerativeConfig = internvlGConfig, samples = 1_450_000): Recipe<GenerativeConfig> {
  const config = withVision(c, { image: 26 * c.vision.patch, positions: 0, dropPath: 0.3, dropPathRule: "linear" });
  const [batch, steps] = [1024, Math.ceil(samples / 1024)];
  return {
    config,
    stage: defineStage({
      name: "retrieval",
      loss: (p) => retrievalLoss(p, config),
      optimizer: {
        rate: cosine({ peak: 1e-6, steps, warmup: 100 }),
        rateScale: layerwiseRate(c, 0.9),
        decays: decaysAsStored(generativeRules),
        weightDecay: 0.05,
      },
    }),
    batch,
    steps,
    startsFrom: ["stage 2"],
  };
}
