/** Stages with batch norm, whose statistics are those of the whole batch on every rank. */
import * as h from "../../dsl/index.ts";
import type { Case } from "./case.ts";

const batch = h.axis("batch", h.symbol("batch"));
const [place, embed, feature, word] = [h.axis("place", 3), h.axis("embed", 5), h.axis("feature", 7), h.axis("word", 4)];

/** A linear probe: trained or frozen features, batch norm with running statistics, a classifier. */
const probed = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const features = h.linear(p.scope("tower"), h.gelu(h.input("x", "f32", [batch, embed])), [embed], [feature]);
  const dropped = h.dropPath(p.scope("tower"), features, batch, 0.3);
  const normed = h.batchNorm(p.scope("norm"), dropped, feature, { updates });
  const scores = h.linear(p.scope("head"), normed, [feature], [word]);
  const loss = h.mean(h.crossEntropy(scores, h.input("label", "i32", [batch]), word), batch);
  return { loss: loss as h.Tensor<never>, metrics: { spread: h.mean(h.mul(scores, scores), [batch, word]) }, updates };
};

/** Segmentation by one layer: statistics over samples and places, and a mean over those that have a class. */
const placed = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const map = h.linear(p.scope("tower"), h.input("x", "f32", [batch, place, embed]), [embed], [feature]);
  const normed = h.gelu(h.batchNorm(p.scope("norm"), map, feature, { updates }));
  const wide = h.gelu(h.linear(p.scope("head"), normed, [feature], [embed]));
  const scores = h.linear(p.scope("last"), wide, [embed], [word]);
  const label = h.input("label", "i32", [batch, place]);
  const known = h.cast(h.gt(label, 0), "f32");
  const losses = h.mul(h.crossEntropy(scores, label, word), known);
  return {
    loss: h.div(h.sum(losses, [batch, place]), h.max(h.sum(known, [batch, place]), 1)) as h.Tensor<never>,
    updates,
  };
};

/** The same with all places in one axis, so that a sample has several rows. */
const merged = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  const map = h.linear(p.scope("tower"), h.input("x", "f32", [batch, place, embed]), [embed], [feature]);
  const spot = h.axis("spot", h.times(batch, 3).size);
  const rows = h.merge(map, [batch, place], spot) as h.Tensor<"spot" | "feature">;
  const normed = h.gelu(h.batchNorm(p.scope("norm"), rows, feature, { updates }));
  const scores = h.linear(p.scope("last"), normed, [feature], [word]);
  return { loss: h.mean(h.mul(scores, scores), [spot, word]) as h.Tensor<never>, updates };
};

/** Layers between two norms, which every rank would have to compute for all samples. */
const repeated = (p: h.Params): h.LossResult => {
  const updates: h.StateUpdate[] = [];
  let x = h.input("x", "f32", [batch, embed]) as h.Tensor<"batch" | "embed">;
  for (const name of ["first", "second"]) {
    const y = h.linear(p.scope(name), x, [embed], [feature]);
    const normed = h.gelu(h.batchNorm(p.scope(`${name}_norm`), y, feature, { updates }));
    x = h.linear(p.scope(`${name}_out`), normed, [feature], [embed]);
  }
  return { loss: h.mean(h.mul(x, x), [batch, embed]) as h.Tensor<never>, updates };
};

const head = ["norm.*", "head.*"];

export const norms: Readonly<Record<string, Case>> = {
  "batch norm and a layer": { loss: probed, samples: 7, accumulate: 1 },
  "batch norm and a layer, of frozen features in int8": {
    loss: probed,
    samples: 8,
    accumulate: 1,
    trainable: head,
    frozen: "int8",
  },
  "batch norm and a layer, in parts of weights": {
    loss: probed,
    samples: 12,
    accumulate: 1,
    optimizer: { rule: h.sgd({ momentum: 0.9 }) },
    trainable: head,
    shard: "weights",
  },
  "batch norm and layers over places": { loss: placed, samples: 12, accumulate: 1 },
  "batch norm and layers over places, accumulated": { loss: placed, samples: 12, accumulate: 3 },
  "batch norm and a layer over merged places": { loss: merged, samples: 12, accumulate: 1 },
  "batch norm and a layer over merged places, accumulated": { loss: merged, samples: 12, accumulate: 3 },
  "batch norm and layers over places, of an uneven batch": { loss: placed, samples: 9, accumulate: 1 },
};

/** What several ranks cannot share. */
export const refusedNorms: Readonly<Record<string, Case>> = {
  "batch norms with a layer between": { loss: repeated, samples: 8, accumulate: 1 },
  "batch norm and a layer, unevenly accumulated": { loss: probed, samples: 9, accumulate: 3 },
};
