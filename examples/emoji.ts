/**
 * Trains a small InternVL on emoji in its three stages: contrastive training of both towers on images and names; then
 * queries learn to match and write names, the towers frozen; then a language model answers questions. It trains on
 * three artists' images, with names in four languages. The fourth artist, Noto, is held out, so the tests ask for known
 * concepts in unseen drawings.
 */

import { cosine, count, defineStage, positive, precisionNamed, trainingStep } from "../dsl/index.ts";
import { defineJob, type TrainingJob } from "../runtime/index.ts";
import type { ArtistId } from "./emoji/artists.ts";
import { type Part, stageOne, stageThree, stageTwo } from "./emoji/stages.ts";
import { emojiBatches, emojiData, spread, type Test, trainedArtists } from "./emoji/training-data.ts";
import emojiModel from "./emoji-model.ts";

const settings = {
  steps: 900,
  /** Steps of the second and third stage, relative to the first. */
  writing: 0.85,
  answering: 1.5,
  batch: 128,
  /** Images per step; each has several questions, and more steps help more than larger ones. */
  answeringBatch: 64,
  rate: 1.5e-3,
  writingRate: 1.5e-3,
  answeringRate: 1.5e-3,
  checkpointEvery: 200,
  checkpointMinutes: 10,
  seed: 7,
  precision: "f32",
  /** The held-out artist, whose images are the test set. */
  heldOut: "noto",
  /** Number of emoji tested. */
  tested: 1350,
};

export default defineJob({
  name: "emoji",
  summary:
    "the three stages of a small InternVL on emoji by three artists, in English, Chinese, Arabic and Spanish; tested on a fourth artist",
  config: settings,
  rules: {
    tested: count,
    answeringBatch: count,
    rate: positive,
    writing: positive,
    answering: positive,
    writingRate: positive,
    answeringRate: positive,
  },
  mayChange: ["tested"],
  build: async (c): Promise<TrainingJob> => {
    const drawnBy = trainedArtists(c.heldOut);
    const data = await emojiData(emojiModel.config.text.vocab);
    const set = { ...data.set, emoji: spread(data.set.emoji, c.tested) };
    const test: Test = {
      data: { ...data, set },
      heldOut: c.heldOut as ArtistId,
      drawnBy,
      batch: c.batch,
      seed: c.seed,
    };
    const jobOf = (part: Part, steps: number, rate: number, batch = c.batch): TrainingJob => ({
      step: trainingStep(
        defineStage({
          ...part.stage,
          precision: precisionNamed(c.precision),
          optimizer: {
            rate: cosine({ peak: rate, steps, warmup: Math.min(40, Math.ceil(steps / 10)) }),
            beta2: 0.95,
            weightDecay: 0.1,
            clip: 1,
          },
        }),
      ),
      steps,
      sizes: { batch },
      seed: c.seed,
      checkpointEvery: c.checkpointEvery,
      checkpointMinutes: c.checkpointMinutes,
      ...(part.model && { model: part.model }),
      ...(part.checkpoints && { checkpoints: part.checkpoints }),
      async *batches(cursor, note) {
        const shape = { image: part.image, tokens: part.tokens, batch, seed: c.seed, drawnBy };
        for await (const batch of emojiBatches(data, shape, cursor, note))
          yield { feeds: part.feeds(batch, data), next: { ...batch.next } };
      },
      finish: (run) => part.finish(run, test),
    });
    const after = (share: number) => Math.ceil(share * c.steps);
    return {
      ...jobOf(stageOne(), c.steps, c.rate),
      next: [
        { name: "matching-and-writing", build: () => jobOf(stageTwo(), after(c.writing), c.writingRate) },
        { name: "answering", build: () => jobOf(stageThree(), after(c.answering), c.answeringRate, c.answeringBatch) },
      ],
    };
  },
});
