/** Every bundled model at its tiny configuration, from its record alone. */
import { expect, test } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { sampleFeeds, sampleSizes } from "../../cli/sample-feeds.ts";
import { bindSizes, countParameters } from "../../compiler/index.ts";
import { configure, type Model, parseSettings, trace } from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { heddle, randomWeights } from "../cli/support.ts";
import { storeWith } from "./executors.ts";

const backend = referenceBackend();

/** Shorter texts than those trained on, so that the interpreter is quick. */
function short({ config }: Model): string[] {
  const { context, text } = config as { readonly context?: number; readonly text?: { readonly context?: number } };
  if (text?.context !== undefined) return ["text.context=24"];
  return context === undefined ? [] : ["context=24"];
}

test.each(bundledModels.map((m) => [m.name, m] as const))("%s computes numbers with --set tiny", async (_, model) => {
  const config = parseSettings(model, ["tiny", ...short(model)]);
  const graph = trace(model, config);
  expect(countParameters(graph).parameters).toBeLessThan(1e5);
  const runs = model.runs?.(configure(model, config)) ?? {};
  const bound = bindSizes(graph, sampleSizes(graph, runs));
  const executable = await backend.compile(bound);
  const results = await executable.run(sampleFeeds(bound, runs), await storeWith(backend, randomWeights(bound)));
  for (const [output, { data }] of Object.entries(results)) {
    expect([output, data.every(Number.isFinite)]).toEqual([output, true]);
    expect([output, new Set(data).size > 1]).toEqual([output, data.length > 1]);
  }
});

test.each(["eva02-clip-e-14", "vit-22b", "flamingo-9b"])("inspect %s --set tiny says how small it is", async (name) => {
  const said = await heddle("inspect", name, "--set", "tiny", "--json");
  expect([said.status, said.err]).toEqual([0, ""]);
  expect(JSON.parse(said.out).parameters).toBeLessThan(1e5);
});
