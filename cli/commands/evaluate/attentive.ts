/**
 * The attentive probe: attention pooling over a frozen encoder's tokens, and a linear layer, are trained. The pooling
 * is InternVL's, Chen et al. 2023, arXiv:2312.14238, section 3.2; attentive probes: arXiv:2202.03026, section 4.
 */
import { hostTensor, makeGraph } from "../../../compiler/index.ts";
import { seededRandom, selectedRows, shuffled } from "../../../data/index.ts";
import {
  attentionPooling,
  axis,
  axisOf,
  cosine,
  crossEntropy,
  defineStage,
  input,
  linear,
  mean,
  normal,
  type Params,
  rootParams,
  type Stage,
  type Tensor,
  trainingStep,
} from "../../../dsl/index.ts";
import { createSession, type InferenceSession, learn, startProgress } from "../../../runtime/index.ts";
import type { Learned, Scores, TokenVectors } from "./learner.ts";

export const usualProbe = { epochs: 30, rate: 1e-3 } as const;

/** Maximum images of one step. */
const mostRows = 128;
const usualHeadWidth = 64;

/** Trains on image tokens, and scores those of other images, one row of class logits each. */
export async function attentiveProbe(given: Learned, test: TokenVectors): Promise<Scores> {
  const { classes, backend, options } = given;
  const { epochs = usualProbe.epochs } = options;
  const batch = Math.min(mostRows, given.labels.length);
  const steps = epochs * Math.ceil(given.labels.length / batch);
  const scoresOf = probe(given.train, classes);
  const progress = startProgress({ description: "probe", total: steps, unit: "steps" });
  try {
    const onStep = (done: number, loss: number) => progress.update(done, { loss });
    const how = { steps, sizes: { batch }, seed: given.seed, feeds: feedsOf(given, batch), onStep };
    const weights = await learn(trainingStep(stageOf(scoresOf, steps, options.rate)), how, backend);
    const graph = makeGraph("attentive-probe", [{ name: "scores", node: scoresOf(rootParams()) }]);
    const scores = await scoresOfAll(await createSession(backend, graph, weights), test, classes);
    return (row) => scores[row]!;
  } finally {
    progress.dispose();
  }
}

type Probe = (p: Params) => Tensor<"batch" | "class">;

/** Class logits [batch, class] of the input `states` [batch, token, embed]. */
function probe(vectors: TokenVectors, classes: number): Probe {
  const { tokens = 1 } = vectors;
  const width = vectors.width / tokens;
  return (p) => {
    const [token, embed, out] = [axis("token", tokens), axis("embed", width), axis("feature", width)];
    const states = input("states", "f32", [axis("batch", "batch"), token, embed]);
    const pooled = attentionPooling(p.scope("pooling"), states, { token, embed, out, heads: headsOf(width) });
    return linear(p.scope("head"), pooled, [out], [axis("class", classes)], { init: normal(0.01) });
  };
}

const stageOf = (scoresOf: Probe, steps: number, rate: number = usualProbe.rate): Stage =>
  defineStage({
    name: "attentive-probe",
    loss: (p) => {
      const scores = scoresOf(p);
      const rows = axisOf(scores, "batch");
      const losses = crossEntropy(scores, input("label", "i32", [rows]), axisOf(scores, "class"));
      return { loss: mean(losses, rows) };
    },
    optimizer: { rate: cosine({ peak: rate, steps, warmup: Math.ceil(steps / 20) }) },
  });

/** The inputs of a step: all samples in a new order each epoch; an epoch's last batch wraps around to its beginning. */
const feedsOf =
  ({ train, labels, seed }: Learned, batch: number) =>
  (step: number) => {
    const perEpoch = Math.ceil(labels.length / batch);
    const order = shuffled(labels.length, seededRandom(seed, Math.floor(step / perEpoch)));
    const rows = Array.from({ length: batch }, (_, i) => order[((step % perEpoch) * batch + i) % order.length]!);
    const label = hostTensor(
      "i32",
      [{ name: "batch", size: batch }],
      Int32Array.from(rows, (row) => labels[row]!),
    );
    return { states: statesOf(train, rows), label };
  };

/** The scores of all images; disposes of the session. */
async function scoresOfAll(
  session: InferenceSession,
  test: TokenVectors,
  classes: number,
): Promise<readonly Float64Array[]> {
  try {
    const scores: Float64Array[] = [];
    const count = test.data.length / test.width;
    for (let from = 0; from < count; from += mostRows) {
      const rows = Array.from({ length: Math.min(mostRows, count - from) }, (_, i) => from + i);
      const { data } = (await session.run({ states: statesOf(test, rows) })).scores!;
      for (const i of rows.keys())
        scores.push(Float64Array.from(data.subarray(i * classes, (i + 1) * classes), Number));
    }
    return scores;
  } finally {
    session.dispose();
  }
}

/** The number of heads whose size is closest to 64. */
function headsOf(width: number): number {
  const fitting = Array.from({ length: width }, (_, i) => i + 1).filter((heads) => width % heads === 0);
  const off = (heads: number) => Math.abs(Math.log(width / heads / usualHeadWidth));
  return fitting.reduce((best, heads) => (off(heads) < off(best) ? heads : best));
}

/** Rows as the input `states` [batch, token, embed]. */
function statesOf(vectors: TokenVectors, rows: readonly number[]) {
  const { data, width, tokens = 1 } = selectedRows(vectors, rows);
  const axes = [
    { name: "batch", size: rows.length },
    { name: "token", size: tokens },
    { name: "embed", size: width / tokens },
  ];
  return hostTensor("f32", axes, data);
}
