/** Jobs that a page and Node train alike, on batches that follow from their numbers. */
import { hostTensor } from "../../compiler/index.ts";
import * as h from "../../dsl/index.ts";
import { randomStream, type TrainingBatch, type TrainingJob } from "../../runtime/index.ts";
import { loss } from "./tiny-vit.ts";

const size = 4;
const named = (...axes: readonly (readonly [string, number])[]) => axes.map(([name, n]) => ({ name, size: n }));

function job(stage: h.Stage, steps: number, feeds: (position: number) => TrainingBatch["feeds"]): TrainingJob {
  return {
    step: h.trainingStep(stage),
    steps,
    sizes: { batch: size },
    seed: 3,
    checkpointEvery: 50,
    async *batches(cursor) {
      for (let at = Number(cursor ?? 0); ; at++) yield { feeds: feeds(at), next: at + 1 };
    },
  };
}

const pictures = randomStream(11, "pictures");

/** One block of a vision transformer with attention, norms and drop path; clipped AdamW after a warmup. */
export const vitJob = (steps: number): TrainingJob =>
  job(
    h.defineStage({
      name: "vit",
      loss: (p) => ({ loss: loss(p) }),
      optimizer: { rate: h.cosine({ peak: 3e-3, steps: 20, warmup: 2 }), weightDecay: 0.1, clip: 1 },
    }),
    steps,
    (at) => ({
      pixels: hostTensor(
        "f32",
        named(["batch", size], ["channel", 3], ["row", 16], ["column", 16]),
        pictures.fill({ kind: "normal", mean: 0, std: 1 }, size * 3 * 256, at),
      ),
      labels: hostTensor(
        "i32",
        named(["batch", size]),
        Int32Array.from({ length: size }, (_, i) => (i + at) % 5),
      ),
    }),
  );

const points = randomStream(5, "points");
const [batch, feature, label] = [h.axis("batch", "batch"), h.axis("feature", 6), h.axis("label", 3)];

/** One layer, of which a step takes a millisecond. */
export const layerJob = (steps: number): TrainingJob =>
  job(
    h.defineStage({
      name: "layer",
      loss: (p) => {
        const [x, y] = [h.input("x", "f32", [batch, feature]), h.input("y", "i32", [batch])];
        const kept = h.mul(x, p.bernoulli("kept", [batch], 0.8));
        const logits = h.linear(p.scope("head"), kept, [feature], [label]);
        return { loss: h.mean(h.crossEntropy<"batch" | "label", "label">(logits, y, label), batch) };
      },
      optimizer: { rate: h.constantRate(0.05) },
    }),
    steps,
    (at) => {
      const x = points.fill({ kind: "normal", mean: 0, std: 1 }, size * 6, at);
      const y = Int32Array.from({ length: size }, (_, i) => Number(x[6 * i]! > 0) + Number(x[6 * i + 1]! > 0));
      return {
        x: hostTensor("f32", named(["batch", size], ["feature", 6]), x),
        y: hostTensor("i32", named(["batch", size]), y),
      };
    },
  );

export const jobs = { vit: vitJob, layer: layerJob } as const;
export type JobName = keyof typeof jobs;
