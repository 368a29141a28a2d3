/** Drawing straight to bfloat16, several times as fast as drawing f32 and rounding it, with the same result. */
import type { Distribution } from "../../compiler/index.ts";
import { encode } from "../safetensors/stored-dtype.ts";
import { samplerOf } from "./distributions.ts";

/** Turns words into the bits of as many bfloat16 numbers, each of its own word alone. */
export type BFloat16Sampler = (words: Uint32Array, out: Uint16Array) => void;

/** Distributions whose values rise with their word. */
const rising: readonly Distribution["kind"][] = ["truncated_normal", "uniform"];

/** A bit pattern of bfloat16 that is no number: the words of this range are not all one value. */
const several = 0x7fff;

/**
 * The sampler of a distribution; undefined where values do not rise with their word. There are 2^32 words and some
 * thousand bfloat16 numbers, so all 65,536 words with the same upper half nearly always give one number: the one that the
 * first and the last of them give. The other words, some four in a hundred, are drawn as f32.
 */
export function bfloat16Sampler(distribution: Distribution): BFloat16Sampler | undefined {
  if (!rising.includes(distribution.kind)) return undefined;
  const sample = samplerOf(distribution);
  const rounded = (words: Uint32Array): Uint16Array => {
    const values = new Float32Array(words.length);
    sample(words, values);
    const { buffer, byteOffset } = encode("BF16", values);
    return new Uint16Array(buffer, byteOffset, words.length);
  };
  const ends = rounded(Uint32Array.from({ length: 2 * 65_536 }, (_, i) => (i >>> 1) * 65_536 + (i & 1) * 65_535));
  const table = Uint16Array.from({ length: 65_536 }, (_, i) =>
    ends[2 * i] === ends[2 * i + 1] ? ends[2 * i]! : several,
  );
  let places = new Uint32Array(0);
  return (words, out) => {
    if (places.length < words.length) places = new Uint32Array(words.length);
    let left = 0;
    for (let i = 0; i < words.length; i++) {
      const value = table[words[i]! >>> 16]!;
      out[i] = value;
      if (value === several) places[left++] = i;
    }
    const few = new Uint32Array(left);
    for (let i = 0; i < left; i++) few[i] = words[places[i]!]!;
    const exact = rounded(few);
    for (let i = 0; i < left; i++) out[places[i]!] = exact[i]!;
  };
}
