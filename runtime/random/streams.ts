/**
 * Seeded random streams. Every number has an address (seed, stream, step, index) and depends on nothing else: not on
 * what else was drawn, in which order, or on which device. A resumed run therefore draws the same numbers.
 */
import { type Distribution, UsageError } from "../../compiler/index.ts";
import { samplerOf } from "./distributions.ts";
import { philox4x32, philoxBlocks, type Words } from "./philox.ts";

/**
 * One stream of a seed. `index` counts values within a step, from 0. A float and an integer at the same index come from
 * the same bits, so use a stream for one purpose only, and a differently named one for another.
 */
export interface RandomStream {
  /** Uniform in [0, 1). */
  uniform(index: number, step?: number): number;
  /** Standard normal. */
  normal(index: number, step?: number): number;
  /** Normal with mean 0 and standard deviation 1, truncated to [low, high]. */
  truncatedNormal(index: number, low: number, high: number, step?: number): number;
  /** An integer in [0, below); `below` is at most 2^32, which leaves no measurable bias. */
  integer(index: number, below: number, step?: number): number;
  /** A copy of the items in random order. */
  shuffle<T>(items: readonly T[], step?: number): T[];
  /** The integers 0 to count - 1 in random order. */
  permutation(count: number, step?: number): Uint32Array;
  /** `count` values of a distribution, from index `start` on. */
  fill(distribution: Distribution, count: number, step?: number, start?: number): Float32Array;
}

/**
 * The stream of a name or number under a seed. Names and numbers never collide; two names collide with probability
 * 2^-63. Throws UsageError for a seed, stream, step or index that is not an integer from 0 on (steps: below 2^32).
 */
export function randomStream(seed: number, stream: string | number): RandomStream {
  const key = wordsOf(wholeNumber("seed", seed));
  const id = typeof stream === "string" ? nameWords(stream) : wordsOf(wholeNumber("stream", stream));
  const fill = (distribution: Distribution, count: number, step = 0, start = 0) => {
    const out = new Float32Array(wholeNumber("count", count, mostValues));
    fillFrom(out, distribution, key, counterOf(step, id), start);
    return out;
  };
  const integer = (index: number, below: number, step = 0) => {
    if (below === 0) throw new UsageError("the bound of a random integer must be at least 1, got 0");
    return integerAt(index, wholeNumber("bound", below, 2 ** 32), key, counterOf(step, id));
  };
  const permutation = (count: number, step = 0) => shuffledIndices(wholeNumber("count", count, 2 ** 32), key, step, id);
  return {
    uniform: (index, step) => fill(unitUniform, 1, step, index)[0]!,
    normal: (index, step) => fill(unitNormal, 1, step, index)[0]!,
    truncatedNormal: (index, low, high, step) =>
      fill({ kind: "truncated_normal", mean: 0, std: 1, low, high }, 1, step, index)[0]!,
    integer,
    permutation,
    shuffle: (items, step) => Array.from(permutation(items.length, step), (i) => items[i]!),
    fill,
  };
}

const unitUniform: Distribution = { kind: "uniform", low: 0, high: 1 };
const unitNormal: Distribution = { kind: "normal", mean: 0, std: 1 };

/** Samples of a distribution for a tensor of this shape, in row-major order; the same for every executor. */
export function fillRandom(
  distribution: Distribution,
  shape: readonly number[],
  seed: number,
  stream: string | number,
  step = 0,
): Float32Array {
  const count = shape.reduce((n, size) => n * size, 1);
  return randomStream(seed, stream).fill(distribution, count, step);
}

/**
 * The random words underlying the values of a stream's step, from index `start` on. `start` and the number of words
 * must be multiples of 8.
 */
export function fillWords(out: Uint32Array, seed: number, stream: string, start: number, step = 0): void {
  const counter = counterOf(step, nameWords(stream));
  counter[0] = start / 4;
  philoxBlocks(counter, wordsOf(wholeNumber("seed", seed)), out);
}

/** A block has four values, and block indices have 32 bits. */
const mostValues = 2 ** 34;

function wholeNumber(what: string, value: number, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isSafeInteger(value) && value >= 0 && value <= most) return value;
  throw new UsageError(`a random ${what} must be an integer from 0 to ${most}, got ${value}`);
}

const wordsOf = (value: number): Words => Uint32Array.of(value % 2 ** 32, Math.floor(value / 2 ** 32));

/** A 63-bit digest of a name: its UTF-8 bytes are the counters, 16 at a time, and each block is the key of the next. */
function nameWords(name: string): Words {
  const utf8 = new TextEncoder().encode(name);
  const padded = new Uint8Array((Math.floor(utf8.length / 16) + 1) * 16);
  padded.set(utf8);
  padded[utf8.length] = 0x80; // terminates the name, so that padding is unambiguous
  const view = new DataView(padded.buffer);
  const block = new Uint32Array(4);
  for (let at = 0; at < padded.length; at += 16) {
    const counter = Uint32Array.from({ length: 4 }, (_, i) => view.getUint32(at + 4 * i, true));
    philox4x32(counter, block.slice(0, 2), block);
  }
  return Uint32Array.of(block[0]!, block[1]! | 0x80000000); // numbered streams stay below 2^53
}

/** The counter of a step's block 0: word 0 counts blocks, word 1 steps, words 2 and 3 identify the stream. */
const counterOf = (step: number, id: Words): Words =>
  Uint32Array.of(0, wholeNumber("step", step, 2 ** 32 - 1), id[0]!, id[1]!);

/** Blocks generated at a time, so that their words and values stay in the CPU cache. */
const batchBlocks = 1024;

function fillFrom(out: Float32Array, distribution: Distribution, key: Words, counter: Words, start: number): void {
  const end = wholeNumber("index", start, mostValues) + out.length;
  wholeNumber("index", end, mostValues);
  const sample = samplerOf(distribution);
  const blocks = Math.ceil(end / 4) - Math.floor(start / 4);
  const words = new Uint32Array(8 * Math.min(batchBlocks / 2, Math.ceil(blocks / 2)));
  const values = new Float32Array(words.length);
  for (let first = Math.floor(start / 4) * 4; first < end; first += words.length) {
    counter[0] = first / 4;
    philoxBlocks(counter, key, words);
    sample(words, values);
    const from = Math.max(start - first, 0);
    const to = Math.min(end - first, values.length);
    out.set(values.subarray(from, to), first + from - start);
  }
}

/** The integer at an index uses block `index` alone: 53 of its bits, scaled. */
function integerAt(index: number, below: number, key: Words, counter: Words): number {
  counter[0] = wholeNumber("index", index, 2 ** 32 - 1);
  const block = new Uint32Array(4);
  philox4x32(counter, key, block);
  const fraction = ((block[0]! >>> 5) * 2 ** 26 + (block[1]! >>> 6)) * 2 ** -53;
  return Math.floor(fraction * below);
}

/** Fisher and Yates' shuffle, as in Knuth, The Art of Computer Programming, volume 2, algorithm 3.4.2P. */
function shuffledIndices(count: number, key: Words, step: number, id: Words): Uint32Array {
  const out = Uint32Array.from({ length: count }, (_, i) => i);
  const counter = counterOf(step, id);
  for (let i = count - 1; i > 0; i--) {
    const j = integerAt(i, i + 1, key, counter);
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}
