/** Stages with buffers: teachers, centers and queues, which all ranks keep equal. */
import * as h from "../../dsl/index.ts";
import type { Case } from "./case.ts";

const batch = h.axis("batch", h.symbol("batch"));
const pair = h.axis("pair", batch.size);
const [embed, feature] = [h.axis("embed", 5), h.axis("feature", 7)];

/** A teacher that follows the student, with a center (DINO) of means over the batch. */
const taught = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const teacher = h.emaTeacher(p.scope("teacher"), p.scope("student"), { decay: 0.7, updates });
  const center = h.buffer(p, "center", [feature], h.zeros);
  const [ours, theirs] = [encoded(p.scope("student"), "left"), encoded(teacher, "right")];
  const middle = h.add(h.mul(center.value, 0.8), h.mul(h.mean(theirs, batch), 0.2)) as h.Tensor<"feature">;
  updates.push(center.update(middle));
  const target = h.softmax(h.mul(h.sub(theirs, center.value), 5) as h.Tensor<"batch" | "feature">, feature);
  const surprise = h.neg(h.mul(target, h.logSoftmax(ours, feature))) as h.Tensor<"batch" | "feature">;
  return { loss: h.mean(h.sum(surprise, feature), batch) as h.Tensor<never>, updates };
};

/** Features that are drawn to their running mean, times a parameter. */
const centered = (p: h.Params, isScaled = false): h.OneLoss => {
  const center = h.buffer(p, "center", [feature], h.zeros);
  const ours = encoded(p.scope("student"), "left");
  const scale = isScaled ? p.parameter("scale", [], h.ones) : 0.2;
  const next = h.add(h.mul(center.value, 0.8), h.mul(h.mean(ours, batch), scale)) as h.Tensor<"feature">;
  const off = h.sub(ours, center.value);
  return { loss: h.mean(h.mul(off, off), [batch, feature]) as h.Tensor<never>, updates: [center.update(next)] };
};

/** A teacher alone, whose weights are the same on every rank. */
const followed = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const teacher = h.emaTeacher(p.scope("teacher"), p.scope("student"), { decay: 0.7, updates });
  const off = h.sub(encoded(p.scope("student"), "left"), encoded(teacher, "right"));
  return { loss: h.mean(h.mul(off, off), [batch, feature]) as h.Tensor<never>, updates };
};

/** A momentum encoder, whose keys of the whole batch enter a queue of negatives (MoCo). */
const queued = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const teacher = h.emaTeacher(p.scope("teacher"), p.scope("student"), { decay: 0.7, updates });
  const slot = h.axis("slot", 16);
  const queue = h.buffer(p, "queue", [slot, feature], h.normal(0.3));
  const ours = h.l2Normalize(encoded(p.scope("student"), "left"), feature);
  const theirs = h.l2Normalize(encoded(teacher, "right"), feature);
  const against = [h.contract(ours, h.rename(theirs, batch, pair), feature), h.contract(ours, queue.value, feature)];
  const surprise = h.sub(
    h.logsumexp(against[1] as h.Tensor<"batch" | "slot">, slot),
    h.sum(h.mul(ours, theirs), feature),
  );
  const among = h.mean(h.crossEntropy(against[0] as h.Tensor<"batch" | "pair">, h.iota(batch), pair), batch);
  const old = h.mul(h.slice(queue.value, slot, 0, 15), 1) as h.Tensor<"slot" | "feature">;
  const newest = h.broadcast(h.mean(theirs, batch) as h.Tensor<"feature">, h.axis("slot", 1)) as h.Tensor<
    "slot" | "feature"
  >;
  updates.push(queue.update(h.concat([newest, old], h.axis("slot", 1))));
  return { loss: h.add(h.mean(surprise as h.Tensor<"batch">, batch), among) as h.Tensor<never>, updates };
};

const encoded = (p: h.Params, name: string) =>
  h.linear(p, h.gelu(h.input(name, "f32", [batch, embed])), [embed], [feature]);

export const buffers: Readonly<Record<string, Case>> = {
  "a teacher, accumulated": { loss: followed, samples: 12, accumulate: 3 },
  "a teacher, in parts of momentum": {
    loss: followed,
    samples: 7,
    accumulate: 1,
    optimizer: { rule: h.sgd({ momentum: 0.9 }) },
    shard: "optimizer",
  },
  "a teacher and a center": { loss: taught, samples: 9, accumulate: 1 },
  "a teacher and a queue": { loss: queued, samples: 12, accumulate: 1 },
  "a teacher and a queue, accumulated": { loss: queued, samples: 12, accumulate: 2 },
  "a center, in parts of weights": { loss: (p) => centered(p), samples: 7, accumulate: 1, shard: "weights" },
};

/** What several ranks, or their parts of the weights, cannot keep equal. */
export const refused: Readonly<Record<string, Case>> = {
  "a center, accumulated": { loss: taught, samples: 12, accumulate: 2 },
  "a center of a scaled mean, in parts of weights": {
    loss: (p) => {
      const { loss, ...rest } = centered(p, true);
      return { ...rest, loss: h.mul(loss, p.shared().parameter("scale", [], h.ones)) as h.Tensor<never> };
    },
    samples: 7,
    accumulate: 1,
    shard: "weights",
  },
  "a teacher, in parts of gradients": { loss: followed, samples: 7, accumulate: 1, shard: "gradients" },
  "a teacher, in parts of weights": { loss: followed, samples: 7, accumulate: 1, shard: "weights" },
};
