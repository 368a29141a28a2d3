/** Token sequences are those of Hugging Face transformers for the same weights and settings. */
import { expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { keptProbabilities } from "../../runtime/generation/sampling.ts";
import { generate } from "../../runtime/index.ts";
import { difference, tensorOf } from "../models/support.ts";
import { type Case, generationFixture, optionsOf, sessionOn } from "./support.ts";

const { greedy, beam, kept } = generationFixture.facts;
const title = ({ written, ...settings }: Case) => JSON.stringify(settings);

it.each(greedy.map((c) => [title(c), c] as const))("greedy: %s", async (_, c) => {
  const session = sessionOn(referenceBackend(), c.prompts.length);
  const made = await generate(session, { ids: c.prompts }, optionsOf(c));
  expect(made.map((g) => g.tokens)).toEqual(c.written);
  for (const { tokens, ended } of made) expect(ended).toBe(c.eos.includes(tokens.at(-1)!) ? "eos" : "length");
});

it.each(beam.map((c) => [title(c), c] as const))("beam: %s", async (_, c) => {
  const session = sessionOn(referenceBackend(), c.prompts.length * c.beams!);
  const made = await generate(session, { ids: c.prompts }, optionsOf(c));
  expect(made.map((g) => g.tokens)).toEqual(c.written);
});

it("keeps for sampling what the warpers of transformers keep", () => {
  const scores = Float64Array.from(tensorOf(generationFixture, "inputs/scores").data);
  for (const [i, setting] of kept.entries()) {
    const probabilities = keptProbabilities(scores, { kind: "sample", seed: 0, ...setting });
    const want = tensorOf(generationFixture, `expected/kept${i}`).data;
    expect(difference(probabilities, want)).toBeLessThan(1e-6);
    expect(Array.from(probabilities, (p) => p > 0)).toEqual(Array.from(want, (p) => p > 0));
  }
});
