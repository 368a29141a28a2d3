/** Draws a stream of values in pieces, as the stored bytes of a dtype; the host provides the threads. */
import type { Distribution } from "../../compiler/index.ts";
import { encode, type StoredDType } from "../safetensors/stored-dtype.ts";
import { type BFloat16Sampler, bfloat16Sampler } from "./bfloat16-sampler.ts";
import { fillWords, randomStream } from "./streams.ts";

/** A piece of a stream to draw. */
export interface Draw {
  readonly id: number;
  readonly distribution: Distribution;
  readonly seed: number;
  readonly stream: string;
  /** Default 0. */
  readonly step?: number;
  readonly start: number;
  readonly count: number;
  readonly dtype: StoredDType;
}

/** A requested range of a stream; from value 0 by default. */
export type Asked = Omit<Draw, "id" | "start"> & { readonly start?: number };

export interface DrawingThreads {
  /**
   * Yields, in pieces, the stored bytes of `count` values of a stream's step from `start` on, default 0. They equal
   * those of `fillRandom`, whatever the number of threads. Throws UsageError for a value that `dtype` cannot hold.
   */
  draw(what: Asked): AsyncGenerator<Uint8Array>;
  dispose(): Promise<void>;
}

/** Values per piece: large enough to make the transfer cost negligible, small enough to keep all threads busy. */
const pieceValues = 2 ** 20;

/** The pieces of a draw in order, with `ahead` of them requested at a time. */
export async function* inPieces(
  what: Asked,
  ahead: number,
  draw: (piece: Omit<Draw, "id">) => Promise<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const asked: Promise<Uint8Array>[] = [];
  let next = 0;
  while (next < what.count || asked.length > 0) {
    while (next < what.count && asked.length < ahead) {
      const count = Math.min(pieceValues, what.count - next);
      asked.push(draw({ ...what, start: (what.start ?? 0) + next, count }));
      next += count;
    }
    yield await asked.shift()!;
  }
}

/** The stored bytes of a piece. */
export function drawBytes({ distribution, seed, stream, step, start, count, dtype }: Draw): Uint8Array {
  const sample = dtype === "BF16" ? samplerFor(distribution) : undefined;
  if (!sample) return encode(dtype, randomStream(seed, stream).fill(distribution, count, step, start));
  const out = new Uint16Array(count);
  const words = new Uint32Array(cachedWords);
  for (let at = 0; at < count; at += words.length) {
    fillWords(words, seed, stream, start + at, step);
    const part = out.subarray(at, at + words.length);
    sample(words.subarray(0, part.length), part);
  }
  return new Uint8Array(out.buffer);
}

/** Words generated at a time, so that they stay in the CPU cache. */
const cachedWords = 4096;

/** Cached, since a model has only a few distributions: one for each fan-in. */
const samplers = new Map<string, BFloat16Sampler | undefined>();

function samplerFor(distribution: Distribution): BFloat16Sampler | undefined {
  const key = JSON.stringify(distribution);
  if (!samplers.has(key)) samplers.set(key, bfloat16Sampler(distribution));
  return samplers.get(key);
}
