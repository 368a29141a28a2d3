/** Tiny configurations of two towers, for trying commands: images of four patches, texts of bytes. */
import type { Config } from "../../dsl/index.ts";

/** A transformer's width, depth, heads and MLP. */
export const tinyTower = { width: 16, depth: 2, heads: 2, mlp: 32 } as const satisfies Config;

/** EOS of the byte tokenizer is 2. */
export const tinyTexts = { ...tinyTower, vocab: 264, eos: 2 } as const satisfies Config;

/** A vision transformer with patches of this size. */
export const tinyPictures = (patch: number) => ({ ...tinyTower, image: 2 * patch });

export const tinyTowers = ({ vision }: { readonly vision: { readonly patch: number } }) => ({
  ...{ vision: tinyPictures(vision.patch), text: tinyTexts, embed: 8 },
});
