/**
 * Trains a small InternVL-C on emoji: three artists' pictures with their names in four languages. The fourth artist,
 * Noto, is held out whole, so the test asks for concepts that were learned in drawings that were never seen.
 */

import { cosine, defineStage, positive, precisionNamed, trace, trainingStep } from "../dsl/index.ts";
import { stageOneLoss } from "../models/index.ts";
import { defineJob, type TrainingJob } from "../runtime/index.ts";
import { evaluate } from "./emoji/evaluate.ts";
import { exportTowers, writeTokenizer } from "./emoji/export.ts";
import { writeReport } from "./emoji/report.ts";
import { emojiBatches, emojiData, heldOutArtist, trainedArtists } from "./emoji/training-data.ts";
import emojiModel from "./emoji-model.ts";

const settings = {
  steps: 1200,
  batch: 128,
  rate: 1.5e-3,
  checkpointEvery: 200,
  checkpointMinutes: 10,
  seed: 7,
  precision: "f32",
};

export default defineJob({
  name: "emoji",
  summary:
    "a small InternVL-C on emoji by three artists, in English, Chinese, Arabic and Spanish; tested on a fourth artist",
  config: settings,
  rules: { rate: positive },
  build: async (c): Promise<TrainingJob> => {
    const model = emojiModel.config;
    const { image } = model.vision;
    const { vocab, context } = model.text;
    const data = await emojiData(vocab);
    const stage = defineStage({
      name: "contrastive",
      precision: precisionNamed(c.precision),
      loss: (p) => {
        const { loss, scale } = stageOneLoss(p, model);
        return { loss, metrics: { logit_scale: scale } };
      },
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
      async *batches(cursor, note) {
        const shape = { image, tokens: context, batch: c.batch, seed: c.seed };
        for await (const { images: pixels, ids, next } of emojiBatches(data, shape, cursor, note)) {
          yield { feeds: { pixels, ids }, next: { ...next } };
        }
      },
      finish: async (run) => {
        const { set, tokenizer, tokenizerJson } = data;
        const graph = trace(emojiModel);
        const result = await evaluate(run, graph, set, { image, tokenizer, context, heldOut: heldOutArtist });
        await writeTokenizer(run.folder, tokenizerJson);
        const onnx = await exportTowers(run, graph);
        await writeReport(run, set, result, { batch: c.batch, heldOut: heldOutArtist, trained: trainedArtists });
        const { candidates, recall, chance } = result;
        return { candidates, recall, chance, onnx };
      },
    };
  },
});
