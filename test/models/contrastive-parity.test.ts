import { describe, expect, test } from "vitest";
import { type Graph, type HostTensor, hostTensor, inputName, makeGraph } from "../../compiler/index.ts";
import {
  checkpointLayout,
  cosine,
  defineStage,
  optimizerState,
  rootParams,
  type Stage,
  trainingState,
  trainingStep,
} from "../../dsl/index.ts";
import {
  type ContrastiveConfig,
  contrastiveRules,
  decaysAsStored,
  eosFeature,
  idsInput,
  internvit,
  internvit6b,
  llama,
  pixelsInput,
  stageOneLoss,
  type TextConfig,
  textAxes,
  type VisionConfig,
} from "../../models/index.ts";
import { allExecutors, runOnce, storeWith } from "./executors.ts";
import {
  type Digest,
  difference,
  fed,
  gradientDifference,
  loadFixture,
  noGradient,
  tensorOf,
  weightsOf,
  withGradients,
} from "./support.ts";

interface Facts {
  readonly vision: Partial<VisionConfig>;
  readonly text: Omit<TextConfig, "epsilon" | "attentionBias" | "rotaryBase">;
  readonly embed: number;
  readonly poolingHeads: number;
  readonly optimizer: {
    readonly steps: number;
    readonly warmup: number;
    readonly peak: number;
    readonly textRate: number;
    readonly clip: number;
    readonly weightDecay: number;
    readonly betas: readonly [number, number];
  };
  readonly losses: readonly number[];
  readonly gradientNorms: readonly number[];
  readonly gradients: Readonly<Record<string, Digest>>;
  readonly finalNorms: Readonly<Record<string, number>>;
}

const fixture = await loadFixture<Facts>("contrastive");
const { facts } = fixture;
const config: ContrastiveConfig = {
  vision: { ...internvit6b, ...facts.vision } as VisionConfig,
  text: { epsilon: 1e-6, attentionBias: false, rotaryBase: 10000, ...facts.text } as TextConfig,
  embed: facts.embed,
  poolingHeads: facts.poolingHeads,
};

const { optimizer } = facts;
const stage: Stage = defineStage({
  name: "parity",
  loss: (p) => stageOneLoss(p, config),
  optimizer: {
    rate: cosine({ peak: optimizer.peak, steps: optimizer.steps, warmup: optimizer.warmup }),
    rateScale: (name) => (/^(qllama|text_projection)/.test(name) ? optimizer.textRate : 1),
    decays: decaysAsStored(contrastiveRules),
    clip: optimizer.clip,
    weightDecay: optimizer.weightDecay,
    beta1: optimizer.betas[0],
    beta2: optimizer.betas[1],
  },
});

/** Batch `i` of the fixture, as feeds. */
function batch(graph: Graph, i: number): Record<string, HostTensor> {
  return Object.fromEntries(
    graph.inputs
      .filter((n) => n.op === "input" && n.attrs.role !== "state")
      .map((n) => {
        const all = tensorOf(fixture, `inputs/${inputName(n)}`);
        const [batches, ...axes] = all.axes;
        const size = all.data.length / batches!.size;
        const data = all.data.subarray(i * size, (i + 1) * size);
        return [inputName(n), fed(n, hostTensor(all.dtype, axes, data))];
      }),
  );
}

const lossGraph = (() => {
  const { loss } = stageOneLoss(rootParams({ training: true }), config);
  return makeGraph("loss", [{ name: "loss", node: loss }]);
})();
const weights = weightsOf(fixture, lossGraph, contrastiveRules);

describe.each(allExecutors)("a tiny InternVL-C on $name, beside PyTorch", (executor) => {
  const { make, tolerance } = executor;

  test("has the same features in between", async () => {
    const p = rootParams();
    const ids = idsInput(config.text);
    const hidden = llama(p.scope("qllama.model"), ids, config.text);
    const graph = makeGraph("features", [
      { name: "tokens", node: internvit(p.scope("vision_model"), pixelsInput(config.vision), config.vision).at(-1)! },
      { name: "eos", node: eosFeature(hidden, ids, textAxes(config.text)) },
    ]);
    const got = await runOnce(executor, graph, batch(graph, 0), weights);
    expect(difference(got.tokens!.data, tensorOf(fixture, "expected/tokens").data)).toBeLessThan(tolerance);
    expect(difference(got.eos!.data, eosOfFixture())).toBeLessThan(tolerance);
  });

  test("has the same gradients at the first step", async () => {
    const graph = withGradients(lossGraph);
    const got = await runOnce(executor, graph, batch(graph, 0), weights);
    expect(difference(got.loss!.data, [facts.losses[0]!])).toBeLessThan(tolerance);
    const worst = gradientDifference(got, facts.gradients, checkpointLayout(lossGraph, contrastiveRules));
    expect(worst.difference, worst.name).toBeLessThan(10 * tolerance);
  });

  test(`has the same first ${facts.losses.length} losses`, async () => {
    const { graph, arenas } = trainingStep(stage);
    const { layout } = arenas[0]!;
    const backend = await make();
    const arena = new Float32Array(layout.size);
    for (const e of layout.entries) arena.set(weights.get(e.name)!.data, e.offset);
    const flat = (data: Float32Array) => hostTensor("f32", [{ name: "arena", size: layout.size }], data);
    const store = await storeWith(
      backend,
      new Map([
        [trainingState.parameters, flat(arena)],
        [optimizerState("mean"), flat(new Float32Array(layout.size))],
        [optimizerState("square"), flat(new Float32Array(layout.size))],
        [trainingState.step, hostTensor("i32", [], [0])],
      ]),
    );
    const executable = await backend.compile(graph);
    const batches = tensorOf(fixture, "inputs/ids").axes[0]!.size;
    for (const [step, want] of facts.losses.entries()) {
      const got = await executable.run(batch(graph, step % batches), store);
      expect(Math.abs(got.loss!.data[0]! - want) / want, `loss of step ${step}`).toBeLessThan(tolerance);
      const norm = facts.gradientNorms[step]!;
      expect(Math.abs(got.gradient_norm!.data[0]! - norm) / norm, `norm of step ${step}`).toBeLessThan(10 * tolerance);
    }
    const end = await store.read(trainingState.parameters);
    // Adam makes steps of full size out of rounding, so a parameter that the loss does not see ends anywhere.
    const seen = checkpointLayout(lossGraph, contrastiveRules).filter((t) => facts.gradients[t.name]![0] > noGradient);
    expect(seen.length).toBeGreaterThan(50);
    for (const t of seen) {
      const e = layout.entries.find((x) => x.name === t.parameter)!;
      const norm = Math.hypot(...end.data.subarray(e.offset, e.offset + e.length));
      const want = facts.finalNorms[t.name]!;
      expect(Math.abs(norm - want), t.name).toBeLessThan(tolerance * Math.max(want, 1));
    }
    backend.dispose();
  });
});

/** The fixture's hidden states of the first batch at the last token of each text. */
function eosOfFixture(): number[] {
  const ids = tensorOf(fixture, "inputs/ids");
  const hidden = tensorOf(fixture, "expected/hidden");
  const [rows, tokens, width] = hidden.axes.map((a) => a.size) as [number, number, number];
  return Array.from({ length: rows }, (_, b) => {
    const text = Array.from(ids.data.subarray(b * tokens, (b + 1) * tokens));
    const last = text.filter((id) => id > 0).length - 1;
    return Array.from(hidden.data.subarray((b * tokens + last) * width, (b * tokens + last + 1) * width));
  }).flat();
}
