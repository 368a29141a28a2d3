/** Sizes of the marks: the published ones, small ones for trying, or those given on the command line. */
import { didYouMean, UsageError } from "../../compiler/index.ts";

const full = {
  /** Side of square matrices. */
  product: 8192,
  /** Attention alone. */
  attentionBatch: 8,
  attentionHeads: 25,
  attentionTokens: 1024,
  headWidth: 128,
  /** InternViT. */
  encoderWidth: 3200,
  encoderHeads: 25,
  encoderDepth: 48,
  encoderImage: 224,
  pictures: 16,
  /** The trained ViT. */
  width: 1024,
  heads: 16,
  depth: 12,
  image: 224,
  patch: 14,
  batch: 64,
  classes: 1000,
  /** ResNet; `resnetBlocks` is the maximum per stage. */
  resnetBatch: 64,
  resnetImage: 224,
  resnetChannels: 64,
  resnetBlocks: 6,
  /** InternVL-G. */
  blocks: 48,
  layers: 32,
  tokens: 16,
  /** Timed repetitions. */
  times: 5,
};

export type Shapes = Readonly<typeof full>;
export const scales = ["full", "small"] as const;
export type Scale = (typeof scales)[number];

const small: Shapes = {
  ...{ product: 96, attentionBatch: 1, attentionHeads: 2, attentionTokens: 65, headWidth: 32 },
  ...{ encoderWidth: 64, encoderHeads: 2, encoderDepth: 1, encoderImage: 28, pictures: 2 },
  ...{ width: 64, heads: 2, depth: 1, image: 28, patch: 14, batch: 2, classes: 10 },
  ...{ resnetBatch: 2, resnetImage: 32, resnetChannels: 8, resnetBlocks: 1 },
  ...{ blocks: 1, layers: 1, tokens: 1, times: 2 },
};

export const isMarks = (shapes: Shapes): boolean =>
  (Object.keys(full) as (keyof Shapes)[]).every((k) => shapes[k] === full[k]);

/** `width=768,heads=12`: overrides sizes of the scale. Throws UsageError for an invalid size. */
export function shapesOf(scale: Scale, texts: readonly string[]): Shapes {
  const shapes: Record<string, number> = { ...(scale === "full" ? full : small) };
  for (const part of texts.flatMap((t) => t.split(",")).filter((p) => p.trim() !== "")) {
    const [key = "", value = ""] = part.trim().split("=");
    if (!Object.hasOwn(full, key)) {
      const known = Object.keys(full);
      throw new UsageError(`there is no size "${key}"${didYouMean(key, known) || "."} There are ${known.join(", ")}.`);
    }
    const number = Number(value);
    if (!Number.isInteger(number) || number < 1)
      throw new UsageError(`--shapes takes whole numbers from 1 on, such as ${key}=${full[key as keyof Shapes]}`);
    shapes[key] = number;
  }
  return shapes as Shapes;
}
