/**
 * Training of InternVL-Chat 1.2 and 1.5. Released scripts internvl_chat_v1_2_hermes2_yi34b_448_res_finetune.sh and
 * internvl_chat_v1_5_internlm2_20b_dynamic_res_pretrain.sh, _finetune.sh; Chen et al. 2024, arXiv:2404.16821, section
 * 3.
 */
import {
  cosine,
  defineStage,
  imagenetPreprocessing,
  type StageRecipe,
  scaledWarmUp,
  settled,
  tilePlan,
  whole,
  word,
} from "../../dsl/index.ts";
import { conversationData, decaysAsStored, recipeOf } from "../internvl/index.ts";
import { type InternvlChatConfig, tiledLoss, tokensOfTile } from "./chat.ts";
import { hermesTemplate, tiledTemplates } from "./templates.ts";
import { chatLlamaRules } from "./weights.ts";

interface TiledStage {
  readonly name: string;
  readonly trainable: readonly string[];
  readonly batch: number;
  readonly steps: number;
  readonly rate: number;
  readonly dropPath: number;
  /** Tokens of a conversation, image tokens included. */
  readonly length: number;
  /** Warm-up steps; default 3 % of all steps. */
  readonly warmup?: number;
  /** Notes on unpublished settings and their substitutes, for a run of so many steps. */
  readonly notes?: (steps: number) => readonly string[];
  readonly startsFrom: readonly string[];
}

/** Trains on conversations about whole images, or about tiles if the configuration has several. */
const stage =
  ({
    name,
    trainable,
    startsFrom,
    warmup: published,
    notes = () => [],
    ...of
  }: TiledStage): StageRecipe<InternvlChatConfig> =>
  (c, given) => {
    const s = settled({ ...of, length: c.text.context || of.length, template: c.chatTemplate, tooLong: "cut" }, given);
    const config: InternvlChatConfig = {
      ...c,
      vision: { ...c.vision, dropPath: s.dropPath, dropPathRule: "linear" },
      text: { ...c.text, context: s.length },
    };
    const tiles = tilePlan({ least: c.leastTiles, most: c.mostTiles, thumbnail: c.thumbnail });
    const { mean, std } = imagenetPreprocessing;
    const scaled = published === undefined ? undefined : scaledWarmUp(published, of.steps, s.steps);
    return {
      ...recipeOf(s, [...notes(s.steps), ...(scaled?.notes ?? [])]),
      rules: {
        length: whole(tokensOfTile(config) + 2, 2 ** 20),
        template: word(...tiledTemplates.map((t) => t.name)),
        tooLong: word("cut", "drop"),
      },
      config,
      stage: defineStage({
        name: `internvl-chat-${name}`,
        loss: (p) => tiledLoss(p, config, { perText: tiles.room }),
        trainable,
        optimizer: {
          rate: cosine({ peak: s.rate, steps: s.steps, warmup: scaled?.warmup ?? Math.ceil(0.03 * s.steps) }),
          decays: decaysAsStored(chatLlamaRules),
          weightDecay: 0.05,
          clip: 1,
        },
      }),
      data: conversationData(
        {
          image: {
            ...{ size: c.vision.image, fit: "squash", normalization: { mean, std } },
            ...(tiles.most > 1 && { tiles }),
          },
          place: { id: c.imageToken, tokens: tokensOfTile(config) },
          text: config.text,
        },
        {
          template: tiledTemplates.find((t) => t.name === s.template) ?? hermesTemplate,
          tooLong: s.tooLong,
          packed: 1,
        },
      ),
      startsFrom,
    };
  };

/** A note for runs whose steps are those that stand for one epoch. */
const inOneEpoch = (stands: number) => (steps: number) =>
  steps === stands
    ? [
        `steps: the published training is one epoch of a dataset whose size is not published; ${stands} steps are used instead`,
      ]
    : [];

const [glue, all] = [
  ["vision_model.**", "mlp1.**"],
  ["vision_model.**", "mlp1.**", "language_model.**"],
] as const;

/** InternVL-Chat 1.2's first stage: 39.3 million image-text pairs. */
export const chatPretraining = stage({
  ...{ name: "pretrain", trainable: glue, batch: 8192, steps: 4800, rate: 1e-5, dropPath: 0.2, warmup: 100 },
  length: 2048,
  notes: () => [
    "learning rate, warmup and drop path of this stage are not published; those of InternVL-Chat 1.5 are used instead",
  ],
  startsFrom: ["InternViT-6B-448px", "Nous-Hermes-2-Yi-34B"],
});

/** InternVL-Chat 1.2's second stage: all parameters, one epoch of 1.2 million conversations about whole images. */
export const chatTuning = stage({
  ...{ name: "finetune", trainable: all, batch: 512, steps: Math.ceil(1_200_000 / 512), rate: 1e-5, dropPath: 0.4 },
  length: 2048,
  startsFrom: ["the pre-trained encoder and projector", "Nous-Hermes-2-Yi-34B"],
});

/** InternVL-Chat 1.5's first stage: the encoder and a new projector. */
export const tiledPretraining = stage({
  ...{ name: "pretrain", trainable: glue, batch: 2048, steps: 10_000, rate: 1e-5, dropPath: 0.2, warmup: 100 },
  length: 4096,
  notes: inOneEpoch(10_000),
  startsFrom: ["InternViT-6B-448px", "InternLM2-chat-20B"],
});

/** InternVL-Chat 1.5's second stage: all parameters. */
export const tiledTuning = stage({
  ...{ name: "finetune", trainable: all, batch: 1024, steps: 5_000, rate: 2e-5, dropPath: 0.4 },
  length: 4096,
  notes: inOneEpoch(5_000),
  startsFrom: ["the pre-trained encoder and projector", "InternLM2-chat-20B"],
});
