import { describe, expect, test } from "vitest";
import { type Graph, makeGraph, type Node } from "../../compiler/index.ts";
import { checkpointLayout, type Params, rootParams } from "../../dsl/index.ts";
import {
  captionPrefill,
  captionStep,
  type GenerativeConfig,
  generativeRules,
  idsInput,
  imageEmbeddingG,
  internvit6b,
  type Pass,
  pixelsInput,
  type QllamaConfig,
  qllama,
  queryFeatures,
  retrievalLoss,
  stageTwoLoss,
  textEmbedding,
  type VisionConfig,
  visionTokens,
} from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import { writeGreedily } from "./greedy.ts";
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

interface LossFacts {
  readonly matching: number;
  readonly contrastive: number;
  readonly generative?: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}

interface Facts {
  readonly vision: VisionConfig;
  readonly text: QllamaConfig;
  readonly embed: number;
  readonly poolingHeads: number;
  readonly stageTwo: LossFacts;
  readonly retrieval: LossFacts;
}

const fixture = await loadFixture<Facts>("generative");
const { vision, text, embed, poolingHeads } = fixture.facts;
const config: GenerativeConfig = { vision: { ...internvit6b, ...vision }, text, embed, poolingHeads };

const passes: readonly { readonly pass: Pass; readonly ids: string }[] = [
  { pass: "matching", ids: "matching_ids" },
  { pass: "contrastive", ids: "ids" },
  { pass: "generative", ids: "caption_ids" },
];

describe.each(allExecutors)("a tiny InternVL-G on $name, beside PyTorch", (executor) => {
  const { tolerance } = executor;
  const run = (graph: Parameters<typeof runOnce>[1]) =>
    runOnce(executor, graph, feedsOf(fixture, graph), weightsOf(fixture, graph, generativeRules));

  // One graph, so that the encoder is compiled once.
  test("has the same queries and texts in every pass, features of queries alone, and embeddings", async () => {
    const p = rootParams().shared();
    const pixels = pixelsInput(config.vision);
    const seen = visionTokens(p, pixels, config);
    const ofPasses = passes.flatMap(({ pass, ids }) => {
      const out = qllama(p, seen, idsInput(config.text, ids), config.text, pass);
      return [part(`${pass}/queries`, out.queries), part(`${pass}/text`, out.text)];
    });
    const graph = makeGraph("passes", [
      ...ofPasses,
      part("queries", queryFeatures(p, seen, config.text)),
      part("image", imageEmbeddingG(p, pixels, config)),
      part("text", textEmbedding(p, idsInput(config.text), config)),
    ]);
    const got = await run(graph);
    const expected = (name: string) => tensorOf(fixture, `expected/${name}`).data;
    for (const name of ["queries", "image", "text", ...passes.map(({ pass }) => `${pass}/queries`)])
      expect(difference(got[name]!.data, expected(name)), name).toBeLessThan(tolerance);
    for (const { pass, ids } of passes) {
      const written = tensorOf(fixture, `inputs/${ids}`).data;
      const ofTokens = (x: ArrayLike<number>) =>
        Array.from(x).filter((_, i) => written[Math.floor(i / text.width)]! > 0);
      const [mine, theirs] = [got[`${pass}/text`]!.data, expected(`${pass}/text`)];
      expect(difference(ofTokens(mine), ofTokens(theirs)), pass).toBeLessThan(tolerance);
    }
  });

  test.each([
    {
      stage: "stage 2",
      build: (p: Params, c: GenerativeConfig) => stageTwoLoss(p, c, { labels: "released" }),
      facts: fixture.facts.stageTwo,
    },
    { stage: "retrieval fine-tuning", build: retrievalLoss, facts: fixture.facts.retrieval },
  ])("has the same losses and gradients in $stage", async ({ build, facts }) => {
    const { loss, metrics } = build(rootParams({ training: true }), config);
    const named = Object.entries(metrics).map(([name, node]) => part(name, node));
    const graph = makeGraph("losses", [part("loss", loss), ...named]);
    const got = await run(withGradients(graph));
    for (const name of ["matching", "contrastive", "generative"] as const) {
      if (facts[name] !== undefined) expect(difference(got[name]!.data, [facts[name]]), name).toBeLessThan(tolerance);
    }
    const worst = gradientDifference(got, facts.gradients, checkpointLayout(graph, generativeRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
  });

  test("writes the same captions with a cache, scores and all", async () => {
    const graphOf = (name: string, outputs: Readonly<Record<string, Node>>) =>
      makeGraph(
        name,
        Object.entries(outputs).map(([n, node]) => part(n, node)),
      );
    const prefill = graphOf("prefill", captionPrefill(rootParams(), config));
    const step = graphOf("step", captionStep(rootParams(), config));
    const weights = (graph: Graph) => weightsOf(fixture, graph, generativeRules);
    const inputOf = (name: string) => prefill.inputs.find((n) => n.attrs.name === name)!;
    const feeds = {
      pixels: fed(inputOf("pixels"), tensorOf(fixture, "inputs/pixels")),
      input_ids: fed(inputOf("input_ids"), tensorOf(fixture, "inputs/prompt")),
    };
    const writer = { prefill, step, prefillWeights: weights(prefill), stepWeights: weights(step) };
    const { ids, logits } = await writeGreedily(executor, writer, feeds, 6);
    const want = tensorOf(fixture, "expected/written");
    const rows = ids.map((_, i) => Array.from(want.data.subarray(i * 9 + 3, i * 9 + 9)));
    expect(ids).toEqual(rows);
    for (const [i, scores] of logits.entries())
      expect(difference(scores, tensorOf(fixture, `expected/logits${i}`).data)).toBeLessThan(tolerance);
  });
});

const part = (name: string, node: Node) => ({ name, node });
