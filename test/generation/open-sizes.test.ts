/** A decoder is compiled once: prompts of any length, turns, and a cache that grows are runs of the same kernels. */
import { expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { difference } from "../models/support.ts";
import { gpuTest } from "../support/adapter.ts";
import { asHardware } from "../webgpu/support.ts";
import { generationFixture, sessionOn } from "./support.ts";

const { vocab } = generationFixture.facts.text;

/** Whole numbers that look drawn, from 0 up to below `end`, the same at every run. */
function* numbers(end: number): Generator<number, never> {
  for (let x = 12345; ; x = (x * 1103515245 + 12345) % 2 ** 31) yield (x >> 16) % end;
}

const lengths = numbers(48);
const tokens = numbers(vocab);
const text = (length: number) => Array.from({ length }, () => tokens.next().value);

/** 30 turns of one conversation: a question of any length, and an answer token by token. */
const turns = Array.from({ length: 30 }, () => [text(1 + lengths.next().value), text(1), text(1)]).flat();
/** 50 prompts, each of a conversation of its own. */
const prompts = Array.from({ length: 50 }, () => text(1 + lengths.next().value));

/** The scores after every step, and the pipelines that there were after each. */
async function converse(backend: Backend) {
  const session = sessionOn(backend, 1, 8); // grows many times
  const [scores, pipelines]: [ArrayLike<number>[], number[]] = [[], []];
  const step = async (ids: readonly number[]) => {
    scores.push(await session.step([ids]));
    pipelines.push(backend.pipelines());
  };
  for (const ids of turns) await step(ids);
  for (const ids of prompts) {
    session.clear();
    await step(ids);
  }
  session.dispose();
  return { scores, pipelines };
}

let truth: Promise<{ scores: ArrayLike<number>[] }> | undefined;

/** Fails unless a backend scores as the interpreter does and compiles nothing after its first step. */
async function expectOnce(backend: Backend): Promise<void> {
  const want = await (truth ??= converse(referenceBackend()));
  const made = await converse(backend);
  expect(made.scores).toHaveLength(30 * 3 + 50);
  for (const [i, scores] of made.scores.entries()) expect(difference(scores, want.scores[i]!)).toBeLessThan(1e-4);
  expect(made.pipelines[0]).toBeGreaterThan(0);
  expect(new Set(made.pipelines).size).toBe(1);
}

gpuTest("a chat and prompts of every length compile nothing after the first step, on webgpu", async ({ gpu }) => {
  await expectOnce(webgpuBackend(gpu));
});

gpuTest("nor do they with the schedules of hardware, which have variants for few rows", async ({ gpu }) => {
  await expectOnce(webgpuBackend(asHardware(gpu)));
});

it("a chat and prompts of every length compile nothing after the first step, on cpu", async () => {
  const backend = await cpuBackend();
  await expectOnce(backend);
  backend.dispose();
});
