/**
 * Classifiers beside PyTorch (scripts/reference/classifiers.py): scores, a training step, files, and the command line.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { verifyExport } from "../../backends/onnxruntime/index.ts";
import { bindSizes, inputName, makeGraph, type Node } from "../../compiler/index.ts";
import {
  type Config,
  checkpointLayout,
  configure,
  type Model,
  rootParams,
  type TensorRule,
  trace,
} from "../../dsl/index.ts";
import { bundledModels } from "../../models/index.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { heddle, scratch } from "../cli/support.ts";
import { allExecutors, executors, runOnce } from "./executors.ts";
import {
  anyFeeds,
  anyWeights,
  type Digest,
  difference,
  type Fixture,
  feedsOf,
  gradientDifference,
  loadFixture,
  tensorOf,
  weightsOf,
  withGradients,
} from "./support.ts";

interface Facts {
  readonly config: Config;
  readonly smoothing: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}

export interface ClassifierCase {
  /** Of the fixture. */
  readonly name: string;
  /** A bundled model of the family. */
  readonly model: string;
  /** Which of its layouts the fixture's tensors have. */
  readonly layout: number;
}

export const bundled = (name: string): Model => bundledModels.find((m) => m.name === name)!;

/** Running statistics from before the step, as values under the parameters' published names. */
function withStatistics(fixture: Fixture<Facts>): Fixture<Facts> {
  const tensors = new Map(fixture.tensors);
  for (const [name, value] of fixture.tensors)
    if (name.startsWith("inputs/before/")) tensors.set(name.replace("inputs/before/", "weights/"), value);
  return { ...fixture, tensors };
}

const part = (name: string, node: Node) => ({ name, node });
const rulesOf = (model: Model, layout: number): readonly TensorRule[] => model.checkpoints!.layouts[layout]!;

/** The same scores, loss, gradients and running statistics as PyTorch in float64. */
export function parityTests(cases: readonly ClassifierCase[]): void {
  const all = cases.flatMap((c) => allExecutors.map((executor) => ({ ...c, executor })));
  describe.each(all)("$name on $executor.name, beside PyTorch", ({ name, model: of, layout, executor }) => {
    const model = bundled(of);
    const rules = rulesOf(model, layout);
    const { tolerance } = executor;
    const configured = (facts: Facts) => configure(model, facts.config);

    test("has the same scores", async () => {
      const fixture = withStatistics(await loadFixture<Facts>(name));
      const graph = trace(model, configured(fixture.facts));
      const got = await runOnce(executor, graph, feedsOf(fixture, graph), weightsOf(fixture, graph, rules));
      expect(difference(got.scores!.data, tensorOf(fixture, "expected/scores").data)).toBeLessThan(tolerance);
    });

    test("has the same step", async () => {
      const fixture = withStatistics(await loadFixture<Facts>(name));
      const { stage } = model.stages!.classes!(configured(fixture.facts), {
        labelSmoothing: fixture.facts.smoothing,
      });
      const { loss, updates = [] } = stage.loss(rootParams({ training: true })) as {
        loss: Node;
        updates?: readonly { name: string; next: Node }[];
      };
      const graph = makeGraph(name, [part("loss", loss), ...updates.map((u) => part(`after/${u.name}`, u.next))]);
      const statistics = weightsOf(fixture, trace(model, configured(fixture.facts)), rules);
      const places = new Map(
        checkpointLayout(trace(model, configured(fixture.facts)), rules).map((p) => [p.parameter, p.name]),
      );
      const stored = new Map([
        ...weightsOf(fixture, graph, rules),
        ...updates.map(({ name: path }) => [path, statistics.get(path)!] as const),
      ]);
      const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), stored);
      expect(difference(got.loss!.data, [fixture.facts.loss])).toBeLessThan(tolerance);
      for (const u of updates) {
        const want = tensorOf(fixture, `expected/after/${places.get(u.name)}`).data;
        expect(difference(got[`after/${u.name}`]!.data, want), u.name).toBeLessThan(tolerance);
      }
      const worst = gradientDifference(got, fixture.facts.gradients, checkpointLayout(graph, rules));
      expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
    });
  });
}

/** How far files of smaller weights may be from the interpreter, relative to the largest score. */
const fileLimits: readonly (readonly ["f32" | "f16" | "int8" | "int4", number])[] = [
  ["f32", 1e-4],
  ["f16", 1e-2],
  ["int8", 0.05],
  ["int4", 0.5],
];

/** ONNX files of a tiny configuration, in all types of weights. */
export function exportTests(name: string, config: Config): void {
  test.each(fileLimits)(`${name} in a file of %s`, async (dtype, limit) => {
    const model = bundled(name);
    const graph = bindSizes(trace(model, configure(model, config)), { batch: 2 });
    const [weights, feeds] = [anyWeights(graph, 4), anyFeeds(graph, {}, 5)];
    const expected = await runOnce(executors[0]!, graph, feeds, weights);
    const file = await encodeOnnx(exportOnnx(graph, { dtype, opset: 21 }), (p) => weights.get(inputName(p)));
    const { maxRelDiff } = await verifyExport(file, feeds, expected, { threads: 1 });
    expect(maxRelDiff).toBeLessThan(limit);
    if (dtype !== "f32") expect(maxRelDiff).toBeGreaterThan(1e-5); // something is rounded
  });
}

export const published = (family: string, ...parts: string[]) =>
  join(fileURLToPath(new URL("../fixtures/classifiers", import.meta.url)), family, ...parts);

export interface CheckpointCase {
  /** Of the folder in test/fixtures/classifiers. */
  readonly family: string;
  readonly set?: readonly string[];
  /** Tensors of transformers that hold nothing of ours. */
  readonly leftOut?: RegExp;
}

/**
 * A checkpoint of transformers: converted there and back, and classifying a picture as the published processor and
 * model do.
 */
export function checkpointTests({ family, set = [], leftOut }: CheckpointCase): void {
  const folder = scratch(family);
  afterAll(() => folder.remove());
  const settings = set.flatMap((s) => ["--set", s]);

  test("is converted and converted back without a changed element", async () => {
    const out = folder.at("converted");
    const ended = await heddle("convert", published(family), "--out", out, "--json", ...settings);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    await using ours = await openSafetensors(out);
    await using theirs = await openSafetensors(published(family));
    const kept = [...theirs.tensors.keys()].filter((n) => !leftOut?.test(n));
    expect([...ours.tensors.keys()].sort()).toEqual(kept.sort());
    for (const tensor of kept) {
      expect([tensor, ours.tensors.get(tensor)!.shape]).toEqual([tensor, theirs.tensors.get(tensor)!.shape]);
      expect((await ours.readTensor(tensor)).data).toEqual((await theirs.readTensor(tensor)).data);
    }
    const json = (path: string) => JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    const [before, after] = [json(published(family, "config.json")), json(join(out, "config.json"))];
    for (const [key, value] of Object.entries(after))
      if (key in before) expect([key, value]).toEqual([key, before[key]]);
  });

  test("says of a picture what the published processor and model say", async () => {
    const want = JSON.parse(readFileSync(published(family, "expected.json"), "utf8")) as { logits: number[] };
    const image = published(family, "picture.png");
    const args = ["--device", "cpu", "--json", "classify", "--image", image, ...settings];
    const ended = await heddle("run", published(family), ...args);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const [{ guesses }] = JSON.parse(ended.out) as [{ guesses: { label: string; logit: number }[] }];
    const names = Object.values(
      (JSON.parse(readFileSync(published(family, "config.json"), "utf8")) as { id2label: Record<string, string> })
        .id2label,
    );
    expect(guesses.map((g) => g.label).sort()).toEqual([...names].sort());
    for (const { label, logit } of guesses)
      expect(Math.abs(logit - want.logits[names.indexOf(label)]!), label).toBeLessThan(1e-3);
  });
}
