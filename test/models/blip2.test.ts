/** BLIP-2's Q-Former beside transformers and LAVIS' losses (scripts/reference/blip2.py). */
import { describe, expect, test, vi } from "vitest";
import { countParameters, inputName, makeGraph } from "../../compiler/index.ts";
import { add, checkpointLayout, configure, rootParams, trace, trainingStep } from "../../dsl/index.ts";
import {
  blip2QformerModel as model,
  type QformerConfig,
  qformerHubRules,
  qformerLoss,
  qformerRules,
  qformerStage,
} from "../../models/index.ts";
import { done, inScratch, rowsOf, weightTypes } from "./checkpoint-folder.ts";
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
  readonly config: Partial<QformerConfig>;
  /** Names of transformers by those of LAVIS. */
  readonly hub: Readonly<Record<string, string>>;
  readonly losses: Readonly<Record<string, number>>;
  readonly gradients: Readonly<Record<string, Digest>>;
}>("blip2-qformer");
const { facts } = fixture;
const config = configure(model, facts.config as QformerConfig);
const expected = (name: string) => tensorOf(fixture, `expected/${name}`).data;

describe("a Q-Former as transformers computes it", () => {
  test.each(allExecutors)("compares and matches alike on $name", async (executor) => {
    const graph = trace(model, config);
    const got = await runOnce(executor, graph, feedsOf(fixture, graph), weightsOf(fixture, graph, qformerRules));
    for (const name of ["image", "text", "match"])
      expect([name, difference(got[name]!.data, expected(name)) < executor.tolerance]).toEqual([name, true]);
  });

  test.each(allExecutors)("writes alike on $name", async (executor) => {
    const graph = trace(model, config, { graph: "caption" });
    const got = await runOnce(executor, graph, feedsOf(fixture, graph), weightsOf(fixture, graph, qformerRules));
    expect(difference(got.logits!.data, expected("logits"))).toBeLessThan(executor.tolerance);
  });

  const [reference] = executors;

  test.each(allExecutors)("has the same three losses and gradients on $name", async (executor) => {
    const { tolerance } = executor;
    const { losses } = qformerLoss(rootParams({ training: true }), config);
    const whole = losses.map(({ loss }) => loss).reduce((a, b) => add(a, b));
    const graph = makeGraph(
      "loss",
      [...losses, { name: "loss", loss: whole }].map(({ name, loss }) => ({ name, node: loss })),
    );
    const draws = graph.inputs.filter((n) => n.op === "random");
    expect(draws.map(inputName).sort()).toEqual(["negatives.image", "negatives.text"]);
    const noise = Object.fromEntries(
      draws.map((n) => [inputName(n), fed(n, tensorOf(fixture, `inputs/${inputName(n)}`))]),
    );
    const feeds = { ...feedsOf(fixture, graph), ...noise };
    const got = await runOnce(executor, withGradients(graph), feeds, weightsOf(fixture, graph, qformerRules));
    for (const [name, loss] of Object.entries(facts.losses))
      expect([name, difference(got[name]!.data, [loss]) < tolerance]).toEqual([name, true]);
    const worst = gradientDifference(got, facts.gradients, checkpointLayout(graph, qformerRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
  });

  test("judges no other text or image where all rows show the same", async () => {
    const one = qformerLoss(rootParams(), config, { grouped: true }).losses.find((l) => l.name === "matching")!;
    const graph = makeGraph("matching", [{ name: "loss", node: one.loss }]);
    const same = rowsOf("i32", { batch: 4 }, [7, 7, 7, 7]);
    const feeds = { ...feedsOf(fixture, trace(model, config)), image_id: same };
    const noise = rowsOf("f32", { batch: 4, pair: 4 }, new Array(16).fill(0.5));
    const draws = { "negatives.text": noise, "negatives.image": noise };
    const got = await runOnce(reference!, graph, { ...feeds, ...draws }, weightsOf(fixture, graph, qformerRules));
    const rows = [0, 1, 2, 3].map((i) => {
      const [no, yes] = expected("match").slice(2 * i, 2 * i + 2);
      return Math.log1p(Math.exp(no! - yes!));
    });
    expect(got.loss!.data[0]).toBeCloseTo(rows.reduce((a, b) => a + b) / 4, 6);
  });
});

describe("checkpoints of a Q-Former", () => {
  test("have the names of LAVIS, and what compares and matches those of transformers", () => {
    const graph = trace(model, config);
    const [lavis, hub] = [qformerRules, qformerHubRules].map((rules) => checkpointLayout(graph, rules));
    expect(lavis!.map(({ name }) => facts.hub[name])).toEqual(hub!.map(({ name }) => name));
    expect(lavis!.map(({ shape }) => shape)).toEqual(hub!.map(({ shape }) => shape));
    expect(Object.keys(facts.hub).length).toBe(hub!.length);
    expect(() => checkpointLayout(trace(model, config, { graph: "caption" }), qformerHubRules)).toThrow(/"head\./);
  });

  test.each(weightTypes)("are exported and verified in %s", (type) =>
    inScratch(async (at) => {
      const sets = Object.entries(facts.config).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
      const how = ["--dtype", type, "--opset", "21", "--verify", "--json"];
      const out = await done("export", "blip2-qformer", ...sets, "--out", `${at}/model.onnx`, ...how);
      expect(JSON.parse(out)).toMatchObject({ verified: { maxRelDiff: expect.any(Number) } });
    }),
  );
});

describe("blip2-qformer", () => {
  test("has the parameters that its shapes come to, and its stage trains them all", () => {
    const layers = 12 * 11_811_840 + 6 * 3_346_944; // of which six ask the image
    const compared = layers + 23_836_416 + 24_576 + 2816 + 393_728 + 1538; // words, queries, norm of the image, heads
    expect(countParameters(trace(model)).parameters).toBe(compared);
    const { stage, steps, batch } = qformerStage(model.config);
    const { trained } = trainingStep(stage);
    const all = trained.reduce((n, x) => n + x.type.axes.reduce((k, a) => k * (a.size as number), 1), 0);
    expect(all).toBe(186_705_470); // with the head that writes and the temperature; the paper says 188 M
    expect([steps, batch]).toEqual([250_000, 1680]);
  });
});
