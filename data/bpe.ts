/**
 * Trains a byte-level BPE tokenizer, in the standard tokenizer.json format. Sennrich et al. 2016, arXiv:1508.07909,
 * section 3.2; the byte alphabet is GPT-2's, so text in any language can be encoded.
 */
import { UsageError } from "../compiler/index.ts";

const special = ["<pad>", "<s>", "</s>"] as const;

/** The tokenizer_config.json of a trained tokenizer. */
export const learnedTokenizerConfig = {
  tokenizer_class: "PreTrainedTokenizerFast",
  pad_token: "<pad>",
  bos_token: "<s>",
  eos_token: "</s>",
} as const;

/** GPT-2's pre-tokenization: letters with a preceding space, digits, and everything else. */
const words = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** A printable character for each byte: itself if it is one, else a code point above 255. */
const alphabet = byteAlphabet();

function byteAlphabet(): readonly string[] {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCodePoint(printable(b) ? b : next++));
}

/** A word as the ids of its symbols, and its count. */
interface Word {
  symbols: number[];
  readonly count: number;
}

/**
 * A tokenizer.json with at most `vocabularySize` tokens: three special ones (pad 0, bos 1, eos 2), 256 bytes, then
 * merges of the most frequent pairs; ties go to the pair that came first. Throws UsageError below 259.
 */
export function learnTokenizer(texts: Iterable<string>, vocabularySize: number): object {
  if (!(vocabularySize >= special.length + 256)) {
    throw new UsageError(
      `a byte-level vocabulary needs at least ${special.length + 256} tokens, got ${vocabularySize}`,
    );
  }
  const tokens: string[] = [...special, ...alphabet];
  const merges = new Merges(countWords(texts));
  const learned: [string, string][] = [];
  while (tokens.length < vocabularySize) {
    const pair = merges.best();
    if (!pair) break;
    const [a, b] = [tokens[pair[0]]!, tokens[pair[1]]!];
    merges.apply(pair, tokens.length);
    tokens.push(a + b);
    learned.push([a, b]);
  }
  return tokenizerJson(tokens, learned);
}

function countWords(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts) for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([word, count]) => ({
    symbols: [...encoder.encode(word)].map((b) => b + special.length),
    count,
  }));
}

/** Counts of adjacent pairs, updated incrementally per word. */
class Merges {
  private readonly counts = new Map<number, number>();
  private readonly homes = new Map<number, Set<Word>>();

  constructor(all: readonly Word[]) {
    for (const word of all) this.add(word, 1);
  }

  /** The most frequent pair, if it occurs at least twice. */
  best(): readonly [number, number] | undefined {
    let [found, most] = [-1, 1];
    for (const [key, count] of this.counts) if (count > most) [found, most] = [key, count];
    return found < 0 ? undefined : [Math.floor(found / base), found % base];
  }

  apply([a, b]: readonly [number, number], merged: number): void {
    for (const word of [...(this.homes.get(a * base + b) ?? [])]) {
      this.add(word, -1);
      word.symbols = join(word.symbols, a, b, merged);
      this.add(word, 1);
    }
  }

  private add(word: Word, sign: 1 | -1): void {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const key = word.symbols[i]! * base + word.symbols[i + 1]!;
      const count = (this.counts.get(key) ?? 0) + sign * word.count;
      if (count > 0) this.counts.set(key, count);
      else this.counts.delete(key);
      const homes = this.homes.get(key) ?? new Set();
      if (sign > 0) this.homes.set(key, homes.add(word));
      else homes.delete(word);
    }
  }
}

/** Packs two ids into one number; larger than any vocabulary. */
const base = 2 ** 21;

function join(symbols: readonly number[], a: number, b: number, merged: number): number[] {
  const out: number[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === a && symbols[i + 1] === b) {
      out.push(merged);
      i++;
    } else out.push(symbols[i]!);
  }
  return out;
}

function tokenizerJson(tokens: readonly string[], merges: readonly (readonly [string, string])[]): object {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({ id, content, ...flags })),
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((t, id) => [t, id])),
      merges: merges.map(([a, b]) => `${a} ${b}`),
    },
  };
}
