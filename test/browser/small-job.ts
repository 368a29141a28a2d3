/** A training job of five kernels or so: a layer, its gradient and AdamW, some rows dropped, on batches that follow from their number. */
import { hostTensor } from "../../compiler/index.ts";
import * as h from "../../dsl/index.ts";
import { randomStream, type TrainingJob } from "../../runtime/index.ts";

const [batch, feature, label] = [h.axis("batch", "batch"), h.axis("feature", 6), h.axis("label", 3)];

const step = h.trainingStep(
  h.defineStage({
    name: "small",
    loss: (p) => {
      const x = h.input("x", "f32", [batch, feature]);
      const y = h.input("y", "i32", [batch]);
      const logits = h.linear(p.scope("head"), h.mul(x, p.bernoulli("kept", [batch], 0.8)), [feature], [label]);
      return { loss: h.mean(h.crossEntropy<"batch" | "label", "label">(logits, y, label), batch) };
    },
    optimizer: { rate: h.constantRate(0.05) },
  }),
);

export function smallJob(steps: number): TrainingJob {
  const draw = randomStream(5, "small data");
  const axes = [{ name: "batch", size: 4 }] as const;
  return {
    step,
    steps,
    sizes: { batch: 4 },
    seed: 3,
    checkpointEvery: 50,
    async *batches(cursor) {
      for (let position = (cursor as number | undefined) ?? 0; ; position++) {
        const x = draw.fill({ kind: "normal", mean: 0, std: 1 }, 24, position);
        const y = Int32Array.from({ length: 4 }, (_, i) => (x[6 * i]! > 0 ? 1 : 0) + (x[6 * i + 1]! > 0 ? 1 : 0));
        const feeds = {
          x: hostTensor("f32", [...axes, { name: "feature", size: 6 }], x),
          y: hostTensor("i32", axes, y),
        };
        yield { feeds, next: position + 1 };
      }
    },
  };
}
