/**
 * Flamingo beside a PyTorch that is written after the paper, around transformers' GPT-2
 * (scripts/reference/flamingo.py).
 */
import { readFileSync } from "node:fs";
import { describe, expect, test, vi } from "vitest";
import { countParameters, makeGraph } from "../../compiler/index.ts";
import { checkpointLayout, configure, rootParams, trace } from "../../dsl/index.ts";
import { type FlamingoConfig, flamingoLoss, flamingoModels, flamingoRules, gpt2Models } from "../../models/index.ts";
import { done, inScratch, weightTypes } from "./checkpoint-folder.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import {
  type Digest,
  difference,
  fed,
  feedsOf,
  gradientDifference,
  loadFixture,
  tensorOf,
  weightsOf,
  withGradients,
} from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const fixture = await loadFixture<{
  readonly config: FlamingoConfig;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}>("flamingo");
const { facts } = fixture;
const [, model] = flamingoModels;
const config = configure(model, facts.config);
const expected = (name: string) => tensorOf(fixture, `expected/${name}`).data;
const [reference] = executors;

/** The layout with keys and values apart, as the reference has them. */
const apart = flamingoRules.map((rule) => {
  const [, entry] = /^([01])\/2\*/.exec(rule.axes) ?? [];
  if (entry === undefined) return rule;
  return { ...rule, name: rule.name.replace("to_kv", entry === "0" ? "to_k" : "to_v"), axes: rule.axes.slice(4) };
});

describe("Flamingo as the paper's pseudo-code computes it", () => {
  test.each(allExecutors)("has the same scores on $name", async (executor) => {
    const graph = trace(model, config);
    const got = await runOnce(executor, graph, feedsOf(fixture, graph), weightsOf(fixture, graph, apart));
    expect(difference(got.logits!.data, expected("logits"))).toBeLessThan(executor.tolerance);
  });

  test("interpolates its positions in time for more frames than it has", async () => {
    const graph = trace(model, { ...config, frames: 5 });
    const pixels = graph.inputs.find((n) => n.attrs.name === "vision")!;
    const feeds = { ...feedsOf(fixture, graph), vision: fed(pixels, tensorOf(fixture, "inputs/long")) };
    const got = await runOnce(reference!, graph, feeds, weightsOf(fixture, graph, apart));
    expect(difference(got.logits!.data, expected("long"))).toBeLessThan(1e-6);
  });

  test.each(allExecutors)("has the same loss and gradients on $name", async (executor) => {
    const { loss } = flamingoLoss(rootParams({ training: true }), config);
    const graph = makeGraph("loss", [{ name: "loss", node: loss }]);
    const weights = weightsOf(fixture, graph, apart);
    const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), weights);
    expect(difference(got.loss!.data, [facts.loss])).toBeLessThan(executor.tolerance);
    const worst = gradientDifference(got, facts.gradients, checkpointLayout(graph, apart));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });

  test("is its language model alone where its gates are shut, and before the first image whatever they are", async () => {
    const graph = trace(model, config);
    const weights = weightsOf(fixture, graph, apart);
    const feeds = feedsOf(fixture, graph);
    const other = { ...feeds, vision: { ...feeds.vision!, data: feeds.vision!.data.map((x: number) => 1 - x) } };
    const run = async (given: typeof feeds, gates?: number) => {
      const shut = [...weights].map(([name, value]) =>
        gates !== undefined && name.endsWith("_gate")
          ? ([name, { ...value, data: Float32Array.of(gates) }] as const)
          : ([name, value] as const),
      );
      return (await runOnce(reference!, graph, given, new Map(shut))).logits!.data;
    };
    expect(await run(feeds, 0)).toEqual(await run(other, 0));
    const [a, b] = [await run(feeds), await run(other)];
    const { vocab } = config.text;
    expect(a.subarray(0, vocab)).toEqual(b.subarray(0, vocab)); // its first token comes before any image
    expect(a.subarray(vocab, 2 * vocab)).not.toEqual(b.subarray(vocab, 2 * vocab));
  });
});

describe("the layout of Flamingo", () => {
  const { resampler, gated, text, ...plain } = facts.config;
  const groups = Object.entries({ resampler, gated, text }).flatMap(([group, fields]) =>
    Object.entries(fields).map(([key, value]) => `${group}.${key}=${value}`),
  );
  const sets = [...groups, ...Object.entries(plain).map(([key, value]) => `${key}=${value}`)].flatMap((s) => [
    "--set",
    s,
  ]);
  test("has all tensors of the reference by their names and shapes", () => {
    const places = checkpointLayout(trace(model, config), flamingoRules);
    const names = [...fixture.tensors.keys()].flatMap((k) => (k.startsWith("weights/") ? [k.slice(8)] : []));
    expect([...new Set(places.map((p) => p.name))].sort()).toEqual(
      [...new Set(names.map((name) => name.replace(/to_[kv]\./, "to_kv.")))].sort(),
    );
  });

  test("is written and read again, in a folder that is a model", () =>
    inScratch(async (at) => {
      const [once, again] = [`${at}/once`, `${at}/again`];
      await done("convert", "flamingo-9b", ...sets, "--weights", "random", "--out", once);
      await done("convert", once, "--out", again);
      expect(readFileSync(`${again}/model.safetensors`)).toEqual(readFileSync(`${once}/model.safetensors`));
    }));

  test.each(weightTypes)("is exported and verified in %s", (type) =>
    inScratch(async (at) => {
      const how = ["--dtype", type, "--opset", "21", "--verify", "--json"];
      const out = await done(...["export", "flamingo-9b", ...sets, "--out", `${at}/model.onnx`, ...how]);
      expect(JSON.parse(out)).toMatchObject({ verified: { maxRelDiff: expect.any(Number) } });
    }),
  );
});

describe("the sizes of Flamingo", () => {
  const resampler = 6 * 12 * 1536 ** 2 + (64 + 8) * 1536 + 6 * 6 * 1536 + 2 * 1536;
  /** Queries and results, keys and values of latents, an MLP, two norms, two gates. */
  const layer = (width: number, inner: number) => 2 * width * inner + 2 * 1536 * inner + 8 * width ** 2 + 4 * width + 2;

  test.each([
    ["flamingo-3b", 2048, 24, 24, 16 * 128],
    ["flamingo-9b", 4096, 40, 10, 32 * 128],
    ["flamingo-80b", 8192, 80, 12, 64 * 128],
  ])("%s has the tables' layers", (name, width, depth, gated, inner) => {
    const found = countParameters(trace(flamingoModels.find((m) => m.name === name)!)).parameters;
    const block = 12 * width ** 2 + 13 * width;
    const language = depth * block + (32_002 + 2048) * width + 2 * width;
    expect(found).toBe(resampler + gated * layer(width, inner) + language);
  });

  test("take a GPT-2 as their language model by its own names", () => {
    const { checkpoints } = model;
    const names = new Set(
      checkpointLayout(trace(gpt2Models[0]), gpt2Models[0].checkpoints!.layouts[0]!).map((p) => p.name),
    );
    const lm = checkpointLayout(trace(flamingoModels[0], { text: gpt2Models[0].config }), flamingoRules).filter((p) =>
      p.parameter.startsWith("lm."),
    );
    const [prefix] = checkpoints!.parts!;
    expect(new Set(lm.map((p) => p.name.slice(prefix!.length)))).toEqual(names);
  });
});
