/** Every device writes the same tokens as transformers: cache updates, beams' reordering, growth. */
import { expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { generate } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { type Case, generationFixture, optionsOf, sessionOn } from "./support.ts";

const { greedy, beam } = generationFixture.facts;

/** Written from a cache of 8 places, which has to grow on the way. */
async function expectSame(backend: Backend, c: Case): Promise<void> {
  const session = sessionOn(backend, c.prompts.length * (c.beams ?? 1), 8);
  const made = await generate(session, { ids: c.prompts }, optionsOf(c));
  expect(made.map((g) => g.tokens)).toEqual(c.written);
}

/** Two prompts of different lengths, greedily and with five beams each. */
const cases = [greedy[2]!, beam.find((c) => c.prompts.length === 2 && c.beams === 5)!];

it("cpu", async () => {
  const backend = await cpuBackend();
  for (const c of cases) await expectSame(backend, c);
  backend.dispose();
});

gpuTest("webgpu", async ({ gpu }) => {
  const backend = webgpuBackend(gpu);
  for (const c of cases) await expectSame(backend, c);
});
