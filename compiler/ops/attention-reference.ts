/** The float64 reference of attention and its gradients, in plain loops. */
import type { RefTensor } from "../ir/op.ts";
import { findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import { type Given, hidden, logitAxes, type Parts } from "./attention-shape.ts";
import { tabulate } from "./kinds.ts";
import { broadcastStrides, strideOf } from "./reference-tools.ts";

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
    if (mask && !mask.data[i.reduce((n, v, d) => n + v * ms![d]!, 0)]!) return Number.NEGATIVE_INFINITY;
    let [pq, pk, total] = [i.reduce((n, v, d) => n + v * qs[d]!, 0), i.reduce((n, v, d) => n + v * ks[d]!, 0), 0];
    for (let e = 0; e < dot; e++, pq += qd, pk += kd) total += q.data[pq]! * k.data[pk]!;
    const scaled = total * p.scale;
    const capped = p.softcap === undefined ? scaled : p.softcap * Math.tanh(scaled / p.softcap);
    if (!bias) return capped;
    const logit = capped + bias.data[i.reduce((n, v, d) => n + v * bs![d]!, 0)]!;
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
    const row = i.reduce((n, x, d) => n + x * ls[d]!, 0);
    const base = i.reduce((n, x, d) => n + x * vs[d]!, 0);
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
    const row = i.reduce((n, x, d) => n + x * ls[d]!, 0);
    const [from, to] = range(i, keys);
    let top = hidden;
    for (let key = from; key < to; key++) top = Math.max(top, values[row + key * lk]!);
    let sum = 0;
    for (let key = from; key < to; key++) sum += Math.exp(values[row + key * lk]! - top);
    return top + Math.log(Math.max(sum, 1e-30));
  });
}

/** Visits every (row, key) pair and adds its contribution to the requested cotangent. */
export function referenceGradient(
  which: "q" | "k" | "v" | "bias",
  g: Given<RefTensor>,
  p: Parts,
  type: TensorType,
): Float64Array {
  const { q, k, v, lse, delta, dy, bias } = g;
  const logits = tensorType("f32", logitAxes(q.type, k.type, p.dot));
  const values = referenceRows(g, p, logits);
  const capped =
    p.softcap === undefined ? undefined : referenceRows({ q, k, bias: undefined, mask: undefined }, p, logits);
  const own = v.type.axes.filter((x) => x.name !== p.over && !hasAxis(logits, x.name));
  const target = { q, k, v, bias: bias! }[which];
  const [os, qs, ks, vs, rs, gs] = [target, q, k, v, lse, dy].map((t) => broadcastStrides(t.type, logits));
  const ds = broadcastStrides(delta.type, logits);
  const out = new Float64Array(type.axes.reduce((n, a) => n * (a.size as number), 1));
  const widths = tensorType("f32", own);
  const [dotSize, vo, go] = [
    findAxis(q.type, p.dot)!.size as number,
    broadcastStrides(v.type, widths),
    broadcastStrides(dy.type, widths),
  ];
  let flat = 0;
  tabulate(logits, (i) => {
    const at = (s: readonly number[]) => i.reduce((n, x, d) => n + x * s[d]!, 0);
    const logit = values[flat++]!;
    if ((g.mask || bias) && logit === Number.NEGATIVE_INFINITY) return 0; // hidden: contributes nothing
    const weight = Math.exp(logit - lse.data[at(rs!)]!);
    const [pv, pg, po] = [at(vs!), at(gs!), at(os!)];
    let seen = 0;
    tabulate(widths, (w) => {
      const [a, b] = [w.reduce((n, x, d) => n + x * vo[d]!, 0), w.reduce((n, x, d) => n + x * go[d]!, 0)];
      seen += dy.data[pg + b]! * v.data[pv + a]!;
      if (which === "v") out[po + a]! += weight * dy.data[pg + b]!;
      return 0;
    });
    if (which === "v") return 0;
    if (which === "bias") {
      out[po]! += weight * (seen - delta.data[at(ds)]!);
      return 0;
    }
    const other = which === "q" ? k : q;
    const [base, step, own_] = [
      at(which === "q" ? ks! : qs!),
      strideOf(other.type, p.dot),
      strideOf(target.type, p.dot),
    ];
    const slope = capped === undefined ? 1 : 1 - (capped[flat - 1]! / p.softcap!) ** 2;
    const dLogit = weight * (seen - delta.data[at(ds)]!) * p.scale * slope;
    for (let e = 0; e < dotSize; e++) out[po + e * own_]! += dLogit * other.data[base + e * step]!;
    return 0;
  });
  return out;
}
