/**
 * The three stages of InternVL, small enough for a laptop, on the emoji of emoji.ts: both towers learn to compare pictures
 * and names; then queries learn to match and to write them, everything else frozen; then a language model answers questions.
 *
 *   heddle train examples/stages.ts --set stage=1
 *   heddle train examples/stages.ts --set stage=2 --from runs/stages
 *   heddle train examples/stages.ts --set stage=3 --from runs/stages-2
 *
 * Stage 1 is what emoji.ts trains, so `--from runs/emoji` does as well.
 */
import type { Graph } from "../compiler/index.ts";
import { UsageError } from "../compiler/index.ts";
import {
  type Config,
  cosine,
  count,
  defineStage,
  positive,
  precisionNamed,
  type Stage,
  trace,
  trainingStep,
} from "../dsl/index.ts";
import {
  internvlCheckpoints,
  internvlG,
  stageOneLoss,
  stageThreeLoss,
  stageTwoLoss,
  stageTwoTrainable,
} from "../models/index.ts";
import { defineJob, type Json, type TrainedRun, type TrainingBatch } from "../runtime/index.ts";
import { evaluate } from "./emoji/evaluate.ts";
import { writeConfig, writeTokenizer } from "./emoji/export.ts";
import { type EmojiData, emojiBatches, emojiData, heldOutArtist } from "./emoji/training-data.ts";
import emojiModel from "./emoji-model.ts";
import { testAnswers } from "./stages/answers.ts";
import { chatFeeds, contrastiveFeeds, generativeFeeds } from "./stages/feeds.ts";
import { chat, contrastive, generative } from "./stages/models.ts";

const settings = {
  stage: 1,
  steps: 400,
  batch: 64,
  rate: 1.5e-3,
  checkpointEvery: 100,
  checkpointMinutes: 10,
  seed: 7,
  tested: 1350,
  precision: "f32",
};

/** What a stage is, what it is fed, and how its result is tested on the artist that it did not see. */
interface Part {
  readonly stage: Pick<Stage, "name" | "loss" | "trainable">;
  readonly image: number;
  readonly tokens: number;
  readonly feeds: (batch: Parameters<typeof contrastiveFeeds>[0], data: EmojiData) => TrainingBatch["feeds"];
  /** The whole model, where the loss leaves parts of it out. */
  readonly model?: Graph;
  /** What `heddle run` is told of the model in the run's folder; a chat would also have to be told its template. */
  readonly config?: Config;
  readonly test: (run: TrainedRun, data: EmojiData) => Promise<Readonly<Record<string, Json>>>;
}

/** Recall of a contrastive model, in all languages. */
const recallOf = (graph: Graph, image: number, context: number) => async (run: TrainedRun, data: EmojiData) => {
  const options = { image, context, tokenizer: data.tokenizer, heldOut: heldOutArtist };
  const { candidates, recall, chance } = await evaluate(run, graph, data.set, options);
  return { candidates, recall: recall as unknown as Json, chance: chance as unknown as Json };
};

function stageOne(): Part {
  const { image } = contrastive.vision;
  const { context } = contrastive.text;
  return {
    stage: {
      name: "stage-1",
      loss: (p) => {
        const { loss, scale } = stageOneLoss(p, contrastive);
        return { loss, metrics: { scale } };
      },
    },
    image,
    tokens: context,
    config: contrastive,
    feeds: contrastiveFeeds,
    test: recallOf(trace(emojiModel), image, context),
  };
}

/** A name of no tokens is BOS and EOS: texts have no prefix here. */
const empty = { emptyContrastive: 1, emptyMatching: 1 };

function stageTwo(): Part {
  const { image } = generative.vision;
  const { context } = generative.text;
  const model = trace(internvlG, generative);
  return {
    // QLLaMA's output matrix is that of a trained LLaMA otherwise; there is none of this size.
    stage: {
      name: "stage-2",
      loss: (p) => stageTwoLoss(p, generative, empty),
      trainable: [...stageTwoTrainable, "qllama.lm_head.*"],
    },
    image,
    tokens: context,
    feeds: (batch, { tokenizer }) => generativeFeeds(batch, tokenizer),
    model,
    config: generative,
    test: recallOf(model, image, context),
  };
}

function stageThree(): Part {
  return {
    stage: { name: "stage-3", loss: (p) => stageThreeLoss(p, chat), trainable: ["model.**", "lm_head.*"] },
    image: chat.vision.image,
    tokens: generative.text.context,
    feeds: (batch, { tokenizer }) => chatFeeds(batch, tokenizer),
    test: async (run, { set, tokenizer }) => {
      const answers = await testAnswers(run, set, tokenizer, Math.min(100, set.emoji.length));
      for (const { emoji, answer } of answers.examples) run.note(`${emoji}  What is this?  ${answer}`);
      return { answers: answers as unknown as Json };
    },
  };
}

const parts: Readonly<Record<number, () => Part>> = { 1: stageOne, 2: stageTwo, 3: stageThree };

export default defineJob({
  name: "stages",
  summary: "the three stages of a small InternVL on emoji: stage=1, then stage=2 and stage=3 with --from",
  config: settings,
  rules: { rate: positive, tested: count },
  mayChange: ["tested"],
  build: async (c) => {
    const part = parts[c.stage]?.();
    if (!part) throw new UsageError(`stage is 1, 2 or 3, not ${c.stage}`);
    const data = await emojiData(contrastive.text.vocab);
    const stage = defineStage({
      ...part.stage,
      precision: precisionNamed(c.precision),
      optimizer: {
        rate: cosine({ peak: c.rate, steps: c.steps, warmup: Math.min(40, Math.ceil(c.steps / 10)) }),
        beta2: 0.95,
        weightDecay: 0.1,
        clip: 1,
      },
    });
    return {
      step: trainingStep(stage),
      steps: c.steps,
      sizes: { batch: c.batch },
      seed: c.seed,
      checkpointEvery: c.checkpointEvery,
      checkpointMinutes: c.checkpointMinutes,
      ...(part.model && { model: part.model }),
      checkpoints: internvlCheckpoints,
      async *batches(cursor, note) {
        const shape = { image: part.image, tokens: part.tokens, batch: c.batch, seed: c.seed };
        for await (const batch of emojiBatches(data, shape, cursor, note))
          yield { feeds: part.feeds(batch, data), next: { ...batch.next } };
      },
      finish: async (run) => {
        await writeTokenizer(run.folder, data.tokenizerJson);
        if (part.config) await writeConfig(run.folder, part.config);
        return await part.test(run, { ...data, set: { ...data.set, emoji: data.set.emoji.slice(0, c.tested) } });
      },
    };
  },
});
