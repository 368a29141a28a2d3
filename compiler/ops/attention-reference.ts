/** The float64 reference of attention and its gradients, in plain loops. */
import type { RefTensor } from "../ir/op.ts";
import { findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import { type Given, hidden, logitAxes, type Parts } from "./attention-shape.ts";
import { tabulate } from "./kinds.ts";
import { broadcastStrides, offsetAt, strideOf } from "./reference-tools.ts";

/** The logits, minus infinity for hidden pairs. */
function referenceRows(
  { q, k, bias, mask }: Pick<Given<RefTensor>, "q" | "k" | "bias" | "mask">,
  p: Parts,
  logits: TensorType,
): Float64Array {
  const dot = findAxis(q.type, p.dot)!.size as number;
  const [qs, ks] = [broadcastStrides(q.type, logits), broadcastStrides(k.type, logits)];
  const [qd, kd] = [strideOf(q.type, p.dot), strideOf(k.type, p.dot)];
  const ms = mask && broadcastStrides(mask.type, logits);
  const bs = bias && broadcastStrides(bias.type, logits);
  return tabulate(logits, (i) => {
    if (mask && !mask.data[offsetAt(i, ms!)]!) return Number.NEGATIVE_INFINITY;
    let [pq, pk, total] = [offsetAt(i, qs), offsetAt(i, ks), 0];
    for (let e = 0; e < dot; e++, pq += qd, pk += kd) total += q.data[pq]! * k.data[pk]!;
    const scaled = total * p.scale;
    const capped = p.softcap === undefined ? scaled : p.softcap * Math.tanh(scaled / p.softcap);
    if (!bias) return capped;
    const logit = capped + bias.data[offsetAt(i, bs!)]!;
    return logit <= hidden ? Number.NEGATIVE_INFINITY : logit;
  });
}

/** The keys [from, to) that contribute to an element of a result. */
export type KeyRange = (index: readonly number[], keys: number) => readonly [from: number, to: number];
const allKeys: KeyRange = (_, keys) => [0, keys];

export function referenceAttention(
  g: Pick<Given<RefTensor>, "q" | "k" | "v" | "bias" | "mask">,
  p: Parts,
  type: TensorType,
  range: KeyRange = allKeys,
): Float64Array {
  const logits = tensorType("f32", logitAxes(g.q.type, g.k.type, p.dot));
  const values = referenceRows(g, p, logits);
  const keys = findAxis(g.k.type, p.over)!.size as number;
  const [ls, vs] = [broadcastStrides(logits, type), broadcastStrides(g.v.type, type)];
  // In the result, an axis with the dot axis's name is v's own width: the logits lack it.
  const [lk, vk] = [strideOf(logits, p.over), strideOf(g.v.type, p.over)];
  return tabulate(type, (i) => {
    const row = offsetAt(i, ls);
    const base = offsetAt(i, vs);
    const [from, to] = range(i, keys);
    let top = Number.NEGATIVE_INFINITY;
    for (let key = from; key < to; key++) top = Math.max(top, values[row + key * lk]!);
    if (top === Number.NEGATIVE_INFINITY) return 0;
    let [sum, mixed] = [0, 0];
    for (let key = from; key < to; key++) {
      const weight = Math.exp(values[row + key * lk]! - top);
      sum += weight;
      mixed += weight * g.v.data[base + key * vk]!;
    }
    return mixed / sum;
  });
}

export function referenceStatistic(
  g: Pick<Given<RefTensor>, "q" | "k" | "bias" | "mask">,
  p: Parts,
  type: TensorType,
  range: KeyRange = allKeys,
): Float64Array {
  const logits = tensorType("f32", logitAxes(g.q.type, g.k.type, p.dot));
  const values = referenceRows(g, p, logits);
  const [ls, lk, keys] = [
    broadcastStrides(logits, type),
    strideOf(logits, p.over),
    findAxis(g.k.type, p.over)!.size as number,
  ];
  return tabulate(type, (i) => {
    const row = offsetAt(i, ls);
    const [from, to] = range(i, keys);
    let top = hidden;
    for (let key = from; key < to; key++) top = Math.max(top, values[row + key * lk]!);
    let sum = 0;
    for (let key = from; key < to; key++) sum += Math.exp(values[row + key * lk]! - top);
    return top + Math.log(Math.max(sum, 1e-30));
  });
}

/** Adds the contribution of every query-key pair to the requested cotangent. */
export function referenceGradient(
  which: "q" | "k" | "v" | "bias",
  g: Given<RefTensor>,
  p: Parts,
  type: TensorType,
): Float64Array {
  const logits = tensorType("f32", logitAxes(g.q.type, g.k.type, p.dot));
  const out = new Float64Array(type.axes.reduce((n, a) => n * (a.size as number), 1));
  const contribution = { q: ofFactor, k: ofFactor, v: ofValues, bias: ofBias }[which];
  eachPair(g, p, logits, contribution(g, p, logits, out, which));
  return out;
}

/** A pair that is not hidden: its index and its place among the logits, and its weight. */
interface Pair {
  readonly index: readonly number[];
  readonly flat: number;
  readonly weight: number;
}

function eachPair(g: Given<RefTensor>, p: Parts, logits: TensorType, visit: (pair: Pair) => void): void {
  const values = referenceRows(g, p, logits);
  const rows = broadcastStrides(g.lse.type, logits);
  let flat = 0;
  tabulate(logits, (index) => {
    const logit = values[flat]!;
    const isHidden = (g.mask || g.bias) && logit === Number.NEGATIVE_INFINITY;
    if (!isHidden) visit({ index, flat, weight: Math.exp(logit - g.lse.data[offsetAt(index, rows)]!) });
    flat++;
    return 0;
  });
}

/** A function that adds a pair's contribution to `out`. */
type Contribution = (
  g: Given<RefTensor>,
  p: Parts,
  logits: TensorType,
  out: Float64Array,
  which: "q" | "k" | "v" | "bias",
) => (pair: Pair) => void;

const ofValues: Contribution = ({ v, dy }, p, logits, out) => {
  const widths = widthsOf(v.type, p, logits);
  const [vs, gs] = [broadcastStrides(v.type, logits), broadcastStrides(dy.type, logits)];
  const [vo, go] = [broadcastStrides(v.type, widths), broadcastStrides(dy.type, widths)];
  return ({ index, weight }) => {
    const [pv, pg] = [offsetAt(index, vs), offsetAt(index, gs)];
    tabulate(widths, (w) => {
      out[pv + offsetAt(w, vo)]! += weight * dy.data[pg + offsetAt(w, go)]!;
      return 0;
    });
  };
};

const ofBias: Contribution = (g, p, logits, out) => {
  const steps = broadcastStrides(g.bias!.type, logits);
  const cotangentOf = logitCotangents(g, p, logits);
  return (pair) => {
    out[offsetAt(pair.index, steps)]! += cotangentOf(pair);
  };
};

const ofFactor: Contribution = (g, p, logits, out, which) => {
  const [target, other] = which === "q" ? [g.q, g.k] : [g.k, g.q];
  const dot = findAxis(g.q.type, p.dot)!.size as number;
  const [own, others] = [broadcastStrides(target.type, logits), broadcastStrides(other.type, logits)];
  const [ownStep, otherStep] = [strideOf(target.type, p.dot), strideOf(other.type, p.dot)];
  const capped =
    p.softcap === undefined ? undefined : referenceRows({ ...g, bias: undefined, mask: undefined }, p, logits);
  const cotangentOf = logitCotangents(g, p, logits);
  return (pair) => {
    const slope = capped === undefined ? 1 : 1 - (capped[pair.flat]! / p.softcap!) ** 2;
    const cotangent = cotangentOf(pair) * p.scale * slope;
    const [to, from] = [offsetAt(pair.index, own), offsetAt(pair.index, others)];
    for (let e = 0; e < dot; e++) out[to + e * ownStep]! += cotangent * other.data[from + e * otherStep]!;
  };
};

/** A function for the cotangent of a pair's logit, before scale and cap: weight · (dy·v − δ). */
function logitCotangents({ v, dy, delta }: Given<RefTensor>, p: Parts, logits: TensorType): (pair: Pair) => number {
  const widths = widthsOf(v.type, p, logits);
  const [vs, gs, ds] = [v, dy, delta].map((t) => broadcastStrides(t.type, logits)) as [number[], number[], number[]];
  const [vo, go] = [broadcastStrides(v.type, widths), broadcastStrides(dy.type, widths)];
  return ({ index, weight }) => {
    const [pv, pg] = [offsetAt(index, vs), offsetAt(index, gs)];
    let ofWeight = 0;
    tabulate(widths, (w) => {
      ofWeight += dy.data[pg + offsetAt(w, go)]! * v.data[pv + offsetAt(w, vo)]!;
      return 0;
    });
    return weight * (ofWeight - delta.data[offsetAt(index, ds)]!);
  };
}

/** The axes that the values have besides those of the logits. */
const widthsOf = (v: TensorType, { over }: Parts, logits: TensorType): TensorType =>
  tensorType(
    "f32",
    v.axes.filter((x) => x.name !== over && !hasAxis(logits, x.name)),
  );
