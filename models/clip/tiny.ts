/** Small configurations of two towers, for trying commands: pictures of four patches, texts of bytes. */
import type { Config } from "../../dsl/index.ts";

/** A transformer's width, depth, heads and MLP. */
export const tinyTower = { width: 16, depth: 2, heads: 2, mlp: 32 } as const satisfies Config;

/** 2 ends a text of bytes. */
export const tinyTexts = { ...tinyTower, vocab: 264, eos: 2 } as const satisfies Config;

/** Of a vision transformer with these patches. */
export const tinyPictures = (patch: number) => ({ ...tinyTower, image: 2 * patch });

export const tinyTowers = ({ vision }: { readonly vision: { readonly patch: number } }) => ({
  ...{ vision: tinyPictures(vision.patch), text: tinyTexts, embed: 8 },
});
