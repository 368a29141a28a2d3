/** Tiny configurations of the family, for trying commands: images of 28 pixels, texts of bytes. */
import type { Config } from "../../dsl/index.ts";

export const tinyVision = { width: 16, depth: 2, heads: 2, mlp: 32, image: 28, positions: 0 } satisfies Config;
export const tinyText = { width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264 } satisfies Config;
const pooling = { embed: 8, poolingHeads: 2 };
const tinyQllama = { ...tinyText, queries: 4 };
const chat = { vision: tinyVision, text: tinyText, features: -2 };

/** The tiny configurations, by kind of model. */
export const tiny = {
  encoder: tinyVision,
  language: tinyText,
  qllama: { ...tinyQllama, visionWidth: tinyVision.width, visionTokens: 5 },
  contrastive: { vision: tinyVision, text: tinyText, ...pooling },
  generative: { vision: tinyVision, text: tinyQllama, ...pooling },
  chat,
  chatOfQueries: { ...chat, qllama: tinyQllama },
  segmentation: { vision: tinyVision, classes: 10, blocks: [2] },
  uperNet: { vision: { ...tinyVision, depth: 4 }, classes: 10, blocks: [1, 2, 3, 4], channels: 8 },
  probe: { vision: tinyVision, classes: 10, ...pooling },
} as const satisfies Readonly<Record<string, Config>>;
