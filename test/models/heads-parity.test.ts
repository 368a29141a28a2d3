import { describe, expect, test } from "vitest";
import { type Graph, makeGraph, type Node } from "../../compiler/index.ts";
import {
  checkpointLayout,
  type Params,
  rootParams,
  type StateUpdate,
  type Tensor,
  type TensorRule,
  transpose,
} from "../../dsl/index.ts";
import {
  internvit6b,
  linearProbe,
  type ProbeConfig,
  pixelsInput,
  probe,
  probeLoss,
  probeRules,
  type SegmentationConfig,
  segment,
  segmentationLinear,
  segmentationLoss,
  segmentationRules,
  segmentationUperNet,
  type VisionConfig,
} from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import {
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
  readonly vision: VisionConfig;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}

interface Case {
  readonly name: string;
  readonly rules: readonly TensorRule[];
  readonly scores: (p: Params, facts: Facts) => Node;
  readonly loss: (p: Params, facts: Facts) => { loss: Tensor<never>; updates: readonly StateUpdate[] };
}

const axes = (...names: string[]) => names.map((name) => ({ name, size: 0 }));

const probeCase = (name: string, base: ProbeConfig): Case => {
  const config = (facts: Facts): ProbeConfig =>
    ({ ...base, ...facts, vision: { ...internvit6b, ...facts.vision } }) as never;
  return {
    name,
    rules: probeRules,
    scores: (p, f) => probe(p, pixelsInput(config(f).vision), config(f)).scores,
    loss: (p, f) => probeLoss(p, config(f)),
  };
};

const segmentationCase = (name: string, base: SegmentationConfig): Case => {
  const config = (facts: Facts): SegmentationConfig =>
    ({ ...base, ...facts, vision: { ...internvit6b, ...facts.vision }, dropout: 0 }) as never;
  return {
    name,
    rules: segmentationRules,
    // PyTorch has the channels before the places.
    scores: (p, f) => {
      const { scores } = segment(p, pixelsInput(config(f).vision), config(f));
      return transpose(scores, axes("batch", "class", "row", "column") as never);
    },
    loss: (p, f) => segmentationLoss(p, config(f)),
  };
};

const cases = [
  probeCase("probe-concat", linearProbe),
  probeCase("probe-pooling", { ...linearProbe, features: "pooling" }),
  segmentationCase("segmentation-linear", segmentationLinear),
  segmentationCase("segmentation-upernet", segmentationUperNet),
];

/** The running statistics before the step are weights of an evaluation. */
function withStatistics(fixture: Fixture<Facts>): Fixture<Facts> {
  const tensors = new Map(fixture.tensors);
  for (const [name, value] of fixture.tensors)
    if (name.startsWith("inputs/before/")) tensors.set(name.replace("inputs/before/", "weights/"), value);
  return { ...fixture, tensors };
}

const part = (name: string, node: Node) => ({ name, node });

describe.each(allExecutors)("heads on $name, beside PyTorch", (executor) => {
  const { tolerance } = executor;
  const weights = (fixture: Fixture<Facts>, graph: Graph, rules: readonly TensorRule[]) =>
    weightsOf(fixture, graph, rules);

  test.each(cases)("$name has the same scores with running statistics", async ({ name, rules, scores }) => {
    const fixture = withStatistics(await loadFixture<Facts>(name));
    const graph = makeGraph(name, [part("scores", scores(rootParams(), fixture.facts))]);
    const got = await runOnce(executor, graph, feedsOf(fixture, graph), weights(fixture, graph, rules));
    expect(difference(got.scores!.data, tensorOf(fixture, "expected/scores").data)).toBeLessThan(tolerance);
  });

  test.each(cases)("$name has the same step: loss, gradients, statistics", async ({ name, rules, loss: build }) => {
    const fixture = await loadFixture<Facts>(name);
    const { loss, updates } = build(rootParams({ training: true }), fixture.facts);
    expect(updates.length).toBeGreaterThan(0);
    const graph = makeGraph(name, [part("loss", loss), ...updates.map((u) => part(`after/${u.name}`, u.next))]);
    const kept = new Map(
      updates.map((u) => {
        const before = tensorOf(fixture, `inputs/before/${u.name}`);
        return [
          u.name,
          { ...before, axes: before.axes.map((a) => ({ ...a, name: u.next.type.axes[0]!.name })) },
        ] as const;
      }),
    );
    const stored = new Map([...weights(fixture, graph, rules), ...kept]);
    const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), stored);
    expect(difference(got.loss!.data, [fixture.facts.loss])).toBeLessThan(tolerance);
    for (const u of updates) {
      const want = tensorOf(fixture, `expected/after/${u.name}`).data;
      expect(difference(got[`after/${u.name}`]!.data, want), u.name).toBeLessThan(tolerance);
    }
    const worst = gradientDifference(got, fixture.facts.gradients, checkpointLayout(graph, rules));
    expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
  });
});
