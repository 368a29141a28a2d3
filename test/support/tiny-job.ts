/**
 * A training job with a few thousand parameters: a tiny InternVL-C on synthetic images and texts. One layer a tower:
 * what is tested with it compiles it again and again, and a second layer doubles the kernels and is no other kind of
 * them.
 */

import { hostTensor } from "../../compiler/index.ts";
import { cosine, defineStage, trainingStep } from "../../dsl/index.ts";
import { type ContrastiveConfig, stageOneLoss } from "../../models/index.ts";
import type { TrainingJob } from "../../runtime/index.ts";
import { randomStream } from "../../runtime/index.ts";

export const tinyConfig: ContrastiveConfig = {
  vision: {
    width: 12,
    depth: 1,
    heads: 2,
    mlp: 20,
    image: 8,
    patch: 4,
    positions: 0,
    dropPath: 0.2,
    dropPathRule: "uniform",
    layerScale: 0.1,
  },
  text: {
    width: 12,
    depth: 1,
    heads: 3,
    mlp: 20,
    vocab: 17,
    context: 5,
    epsilon: 1e-6,
    attentionBias: false,
    rotaryBase: 10000,
  },
  embed: 8,
  poolingHeads: 2,
};

export const tinyBatch = 4;

/** A batch, determined by its number. */
export function tinyFeeds(position: number) {
  const draw = randomStream(11, "tiny data");
  const pixels = draw.fill({ kind: "normal", mean: 0, std: 1 }, tinyBatch * 3 * 64, position);
  const ids = Int32Array.from({ length: tinyBatch * 5 }, (_, i) => {
    const column = i % 5;
    const end = 3 + (Math.floor(i / 5) % 2); // rows of two lengths, so that there is padding
    return column === 0 ? 1 : column === end ? 2 : column > end ? 0 : 3 + draw.integer(i, 14, position);
  });
  const batch = { name: "batch", size: tinyBatch };
  return {
    pixels: hostTensor(
      "f32",
      [batch, { name: "channel", size: 3 }, { name: "row", size: 8 }, { name: "column", size: 8 }],
      pixels,
    ),
    ids: hostTensor("i32", [batch, { name: "token", size: 5 }], ids),
  };
}

export function tinyJob(steps: number, overrides: Partial<TrainingJob> = {}): TrainingJob {
  const stage = defineStage({
    name: "tiny",
    loss: (p) => {
      const { loss, scale } = stageOneLoss(p, tinyConfig);
      return { loss, metrics: { scale } };
    },
    optimizer: { rate: cosine({ peak: 3e-3, steps: 8, warmup: 2 }), weightDecay: 0.1, clip: 1 },
  });
  return {
    step: trainingStep(stage),
    steps,
    sizes: { batch: tinyBatch },
    seed: 3,
    checkpointEvery: 2,
    async *batches(cursor) {
      for (let position = (cursor as number | undefined) ?? 0; ; position++) {
        yield { feeds: tinyFeeds(position), next: position + 1 };
      }
    },
    ...overrides,
  };
}
