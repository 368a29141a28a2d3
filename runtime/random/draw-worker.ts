/** A thread that draws values and hands back their stored bytes: what `drawing-threads.ts` starts. */
import { parentPort } from "node:worker_threads";
import type { Distribution } from "../../compiler/index.ts";
import { encode } from "../safetensors/stored-dtype.ts";
import { type BFloat16Sampler, bfloat16Sampler } from "./bfloat16-sampler.ts";
import type { Draw, Drawn } from "./drawing-threads.ts";
import { fillWords, randomStream } from "./streams.ts";

parentPort!.on("message", (draw: Draw) => {
  const { id } = draw;
  try {
    const bytes = drawBytes(draw);
    parentPort!.postMessage({ id, bytes } satisfies Drawn, [bytes.buffer as ArrayBuffer]);
  } catch (error) {
    parentPort!.postMessage({ id, fault: (error as Error).message } satisfies Drawn);
  }
});

function drawBytes({ distribution, seed, stream, step, start, count, dtype }: Draw): Uint8Array {
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

/** Words made at a time: they stay in the processor's cache. */
const cachedWords = 4096;

/** A model has a few distributions, one for each number of inputs of a layer. */
const samplers = new Map<string, BFloat16Sampler | undefined>();

function samplerFor(distribution: Distribution): BFloat16Sampler | undefined {
  const key = JSON.stringify(distribution);
  if (!samplers.has(key)) samplers.set(key, bfloat16Sampler(distribution));
  return samplers.get(key);
}
