import { describe, expect, test } from "vitest";
import { type Graph, makeGraph } from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  attentionPooling,
  axis,
  cast,
  checkpointLayout,
  gt,
  mul,
  rootParams,
  sum,
  type TensorRule,
  under,
} from "../../dsl/index.ts";
import {
  causalContext,
  decoder,
  idsInput,
  internvit,
  internvit6b,
  llamaRules,
  pixelsInput,
  poolingRules,
  type TextConfig,
  textAxes,
  tokenEmbedding,
  type VisionConfig,
  visionAxes,
  visionRules,
} from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import {
  type Digest,
  difference,
  feedsOf,
  gradientDifference,
  loadFixture,
  tensorOf,
  weightsOf,
  withGradients,
} from "./support.ts";

interface Facts {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}
interface VisionFacts extends Facts {
  readonly vision: VisionConfig;
  readonly embed: number;
  readonly poolingHeads: number;
}
interface TextFacts extends Facts {
  readonly text: TextConfig;
}

const energy = (x: AnyTensor) => mul(sum(mul(x, x), x.type.axes as Axis[]), 0.5);

const towerRules: readonly TensorRule[] = [
  ...under("vision_model", "vision_model", visionRules),
  ...under("clip_projector", "clip_projector", poolingRules),
  ...under("model", "model", llamaRules),
];

function visionGraph({ vision, embed, poolingHeads }: VisionFacts): Graph {
  const c = { ...internvit6b, ...vision };
  const p = rootParams().shared();
  const states = internvit(p.scope("vision_model"), pixelsInput(c), c);
  const a = visionAxes(c);
  const pooled = attentionPooling(p.scope("clip_projector"), states.at(-1)!, {
    token: a.token,
    embed: a.embed,
    out: axis("feature", embed),
    heads: poolingHeads,
  });
  return makeGraph("vision", [
    ...states.map((node, i) => ({ name: `state${i}`, node })),
    { name: "pooled", node: pooled },
    { name: "loss", node: energy(pooled) },
  ]);
}

/** The states of padding are left out, as in the fixture. */
function textGraph({ text }: TextFacts): Graph {
  const a = textAxes(text);
  const ids = idsInput(text);
  const p = rootParams().shared().scope("model");
  const { states, last } = decoder(p, tokenEmbedding(p, ids, a), a, text, causalContext(ids, a));
  const seen = [...states.slice(0, -1), last].map((x) => mul(x, cast(gt(ids, 0), "f32")));
  return makeGraph("text", [
    ...seen.map((node, i) => ({ name: `state${i}`, node })),
    { name: "loss", node: energy(seen.at(-1)!) },
  ]);
}

const cases = [
  ...["vision-one-head", "vision-shrunk"].map((name) => ({ name, graph: visionGraph as (f: never) => Graph })),
  ...["text-one-head", "text-biased"].map((name) => ({ name, graph: textGraph as (f: never) => Graph })),
];

describe.each(allExecutors)("on $name, beside PyTorch and transformers", (executor) => {
  test.each(cases)("$name has the same states and gradients", async ({ name, graph: build }) => {
    const fixture = await loadFixture<Facts>(name);
    const graph = build(fixture.facts as never);
    const weights = weightsOf(fixture, graph, towerRules);
    const got = await runOnce(executor, withGradients(graph), feedsOf(fixture, graph), weights);
    for (const output of graph.outputs.filter((o) => o.name !== "loss")) {
      const want = tensorOf(fixture, `expected/${output.name}`).data;
      expect(difference(got[output.name]!.data, want), output.name).toBeLessThan(executor.tolerance);
    }
    expect(difference(got.loss!.data, [fixture.facts.loss])).toBeLessThan(executor.tolerance);
    const worst = gradientDifference(got, fixture.facts.gradients, checkpointLayout(graph, towerRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
  });
});
