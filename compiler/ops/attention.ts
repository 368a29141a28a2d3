/**
 * Scaled dot-product attention over named axes, forward and backward, without the [query, key] matrix in memory where a
 * kernel exists. Every axis that is neither contracted nor attended over is batched by name.
 */
import { build } from "../ir/build.ts";
import { addDims, productOfDims } from "../ir/dim.ts";
import type { Attrs, Node } from "../ir/node.ts";
import type { AttentionCore, AttrSpec, Work } from "../ir/op.ts";
import { OpViolation, type RefTensor } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import { contract, contractAxes, contractTo } from "./contraction.ts";
import { add, cast, div, exp, le, log, max, mul, select, sub } from "./elementwise.ts";
import { record, requireAxes, tabulate } from "./kinds.ts";
import { reduceMax, reduceSum } from "./reductions.ts";
import { broadcastStrides, strideOf } from "./reference-tools.ts";

/** Stands for minus infinity among logits: WGSL may assume that infinities never occur. */
const hidden = -1e30;

export const attentionAttrs: Readonly<Record<string, AttrSpec>> = {
  dot: { kind: "axis" },
  over: { kind: "axis" },
  scale: { kind: "number" },
};
export const attentionConstraints = {
  C1: "the dot axis is in q and k, of one size",
  C2: "the key axis is in k and v, of one size, and not in q",
  C3: "an axis shared by q, k, v or the mask has one size",
  C4: "q, k and v have one floating dtype",
  C5: "the mask is bool and carries only axes of the logits",
};

export interface Parts {
  readonly dot: string;
  readonly over: string;
  readonly scale: number;
}
export const parts = (a: Attrs): Parts => ({ dot: a.dot as string, over: a.over as string, scale: a.scale as number });

/** The axes of the logits: those of q without dot, then those of k that are left. */
export const logitAxes = (q: TensorType, k: TensorType, dot: string): Axis[] => contractAxes(q.axes, k.axes, [dot]);

export function check(
  q: TensorType,
  k: TensorType,
  v: TensorType,
  mask: TensorType | undefined,
  { dot, over }: Parts,
): void {
  requireAxes(q, [dot], "C1", "q");
  requireAxes(k, [dot], "C1", "k");
  requireAxes(k, [over], "C2", "k");
  requireAxes(v, [over], "C2", "v");
  if (hasAxis(q, over))
    throw new OpViolation("C2", `q carries the key axis "${over}" itself`, "rename the key axis of k and v");
  const sizes = new Map<string, Axis>();
  for (const [t, name] of [
    [q, "q"],
    [k, "k"],
    [v, "v"],
  ] as const) {
    for (const a of t.axes) {
      if (a.name === dot && t === v) continue; // v's own width may have the name of the dot axis
      const known = sizes.get(a.name) ?? a;
      if (known.size !== a.size)
        throw new OpViolation("C3", `axis "${a.name}" is ${known.size} elsewhere and ${a.size} in ${name}`);
      sizes.set(a.name, a);
    }
    if (t.dtype !== q.dtype || !["f32", "f16"].includes(t.dtype))
      throw new OpViolation("C4", `${name} is ${t.dtype}, q is ${q.dtype}`);
  }
  if (!mask) return;
  const logits = logitAxes(q, k, dot);
  const alien = mask.axes.find((a) => logits.find((l) => l.name === a.name)?.size !== a.size);
  if (alien)
    throw new OpViolation("C5", `the mask's axis ${printAxes([alien])} is not one of the logits ${printAxes(logits)}`);
  if (mask.dtype !== "bool")
    throw new OpViolation("C5", `the mask is ${mask.dtype}`, "true means visible: compare, or cast to bool");
}

/** The result's axes: those of q without dot, then v's own without the key axis. */
export function outAxes(q: TensorType, v: TensorType, { dot, over }: Parts): Axis[] {
  const rows = q.axes.filter((a) => a.name !== dot);
  return [...rows, ...v.axes.filter((a) => a.name !== over && !rows.some((r) => r.name === a.name))];
}

export const rowAxes = (q: TensorType, k: TensorType, { dot, over }: Parts): Axis[] =>
  logitAxes(q, k, dot).filter((a) => a.name !== over);

/** The rows of a result of the forward pass. */
const queryRows: AttentionCore["rows"] = ([q, k], a, type) => {
  const rows = rowAxes(q!, k!, parts(a));
  return type.axes.filter((x) => rows.some((r) => r.name === x.name));
};

/** Products over the [row, key] pairs: of the width of q and k, and of the width of v. */
export function attentionWork(
  [q, k, v]: readonly TensorType[],
  a: Attrs,
  products: { readonly dot: number; readonly width: number },
): Work {
  const { dot, over } = parts(a);
  const pairs = logitAxes(q!, k!, dot).map((x) => x.size);
  const own = (v?.axes ?? []).filter((x) => x.name !== over && (x.name === dot || !hasAxis(q!, x.name)));
  const along = (times: number, axes: readonly Axis[]) => productOfDims([times, ...pairs, ...axes.map((x) => x.size)]);
  return { macs: addDims(along(products.dot, [findAxis(q!, dot)!]), along(products.width, own)), others: 0 };
}

/**
 * exp(logit − lse) of the visible, 0 for the hidden: [query..., key]
 * The difference is as exact as the logits are, which are sums of products rounded to 2^-24 of their size.
 */
function probabilities(q: Node, k: Node, mask: Node | undefined, lse: Node, { dot, scale }: Parts): Node {
  const raised = exp(sub(mul(contract(q, k, [dot]), scale), lse));
  return mask ? select(mask, raised, 0) : raised;
}

/** Row statistics and what is computed from them are f32, whatever q, k and v are kept in. */
export const wide = (x: Node): Node => (x.type.dtype === "f16" ? cast(x, "f32") : x);

function maskedLogits(q: Node, k: Node, mask: Node | undefined, { dot, scale }: Parts): Node {
  const logits = mul(contract(q, k, [dot]), scale);
  return mask ? select(mask, logits, hidden) : logits;
}

/** Mixed values over their sum of weights; 0 where that is 0, whatever the hidden values are. */
export const meanOf = (mixed: Node, total: Node): Node => select(le(total, 0), 0, div(mixed, max(total, 1e-30)));

/** Raised logits, and their sum along the keys. */
export function raise(q: Node, k: Node, mask: Node | undefined, p: Parts): { raised: Node; total: Node; top: Node } {
  return raiseLogits(maskedLogits(q, k, mask, p), mask, p);
}

function raiseLogits(logits: Node, mask: Node | undefined, p: Pick<Parts, "over">) {
  const top = reduceMax(logits, [p.over]);
  const visible = exp(sub(logits, top));
  const raised = mask ? select(mask, visible, 0) : visible;
  return { raised, total: reduceSum(raised, [p.over]), top };
}

/** Plain loops: for each row the logits, then `use` with the visible keys' logits. */
function referenceRows(
  q: RefTensor,
  k: RefTensor,
  mask: RefTensor | undefined,
  p: Parts,
  logits: TensorType,
): Float64Array {
  const dot = findAxis(q.type, p.dot)!.size as number;
  const [qs, ks] = [broadcastStrides(q.type, logits), broadcastStrides(k.type, logits)];
  const [qd, kd] = [strideOf(q.type, p.dot), strideOf(k.type, p.dot)];
  const ms = mask && broadcastStrides(mask.type, logits);
  return tabulate(logits, (i) => {
    if (mask && !mask.data[i.reduce((n, v, d) => n + v * ms![d]!, 0)]!) return Number.NEGATIVE_INFINITY;
    let [pq, pk, total] = [i.reduce((n, v, d) => n + v * qs[d]!, 0), i.reduce((n, v, d) => n + v * ks[d]!, 0), 0];
    for (let e = 0; e < dot; e++, pq += qd, pk += kd) total += q.data[pq]! * k.data[pk]!;
    return total * p.scale;
  });
}

/** The keys that an element of a result is made of: those from one index up to another. */
export type KeyRange = (index: readonly number[], keys: number) => readonly [from: number, to: number];
const allKeys: KeyRange = (_, keys) => [0, keys];

export function referenceAttention(
  [q, k, v, mask]: readonly RefTensor[],
  p: Parts,
  type: TensorType,
  range: KeyRange = allKeys,
): Float64Array {
  const logits = tensorType("f32", logitAxes(q!.type, k!.type, p.dot));
  const values = referenceRows(q!, k!, mask, p, logits);
  const keys = findAxis(k!.type, p.over)!.size as number;
  const [ls, vs] = [broadcastStrides(logits, type), broadcastStrides(v!.type, type)];
  // An axis named as the dot axis belongs to v in the result: the logits do not have it.
  const [lk, vk] = [strideOf(logits, p.over), strideOf(v!.type, p.over)];
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
      mixed += weight * v!.data[base + key * vk]!;
    }
    return mixed / sum;
  });
}

export function referenceStatistic(
  [q, k, mask]: readonly RefTensor[],
  p: Parts,
  type: TensorType,
  range: KeyRange = allKeys,
): Float64Array {
  const logits = tensorType("f32", logitAxes(q!.type, k!.type, p.dot));
  const values = referenceRows(q!, k!, mask, p, logits);
  const [ls, lk, keys] = [
    broadcastStrides(logits, type),
    strideOf(logits, p.over),
    findAxis(k!.type, p.over)!.size as number,
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

const qT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "q", size: 3 },
  { name: "h", size: 2 },
  { name: "d", size: 4 },
]);
const kT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "k", size: 5 },
  { name: "h", size: 2 },
  { name: "d", size: 4 },
]);
const vT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "k", size: 5 },
  { name: "h", size: 2 },
  { name: "w", size: 3 },
]);
const maskT = tensorType("bool", [
  { name: "q", size: 3 },
  { name: "k", size: 5 },
]);
const rowT = tensorType("f32", [
  { name: "b", size: 2 },
  { name: "q", size: 3 },
  { name: "h", size: 2 },
]);
const outT = tensorType("f32", [...rowT.axes, { name: "w", size: 3 }]);
const outD = tensorType("f32", [...rowT.axes, { name: "d", size: 4 }]);
const usual = { dot: "d", over: "k", scale: 0.5 };
const unit = { low: -1, high: 1 };
const flag = { low: 0, high: 1, integer: true };
const tolerance = { f32: { absolute: 1e-5, relative: 1e-4 } };

record({
  name: "attention",
  kind: "composite",
  doc: {
    summary: "softmax(scale · q·k, masked) · v over the key axis. A row that sees no key gives 0.",
    source: "Vaswani et al. 2017, section 3.2.1; Dao et al. 2022 (FlashAttention), section 3.1, for the kernel",
  },
  half: "safe",
  operands: ["q", "k", "v", "mask?"],
  roles: { q: "factor", k: "factor", v: "factor", mask: "mask" },
  core: { kind: "attention", pass: "forward", part: "values", rows: queryRows },
  work: (t, a) => attentionWork(t, a, { dot: 1, width: 1 }),
  attrs: attentionAttrs,
  constraints: attentionConstraints,
  infer: ([q, k, v, mask], a) => {
    check(q!, k!, v!, mask, parts(a));
    return tensorType(q!.dtype, outAxes(q!, v!, parts(a)));
  },
  reference: (operands, a, type) => referenceAttention(operands, parts(a), type),
  gradient: (node, dy) => {
    const [q, k, v, mask] = node.operands as [Node, Node, Node, Node | undefined];
    const lse = attentionLse(q, k, mask, node.attrs);
    const own = node.type.axes.filter((x) => !hasAxis(lse.type, x.name)).map((x) => x.name);
    const delta = own.length === 0 ? mul(dy, node) : reduceSum(mul(dy, node), own);
    const shared = [q, k, v, lse, delta, dy, ...(mask ? [mask] : [])];
    const grads = ["q", "k", "v"].map((x) => build(`attention_grad_${x}`, shared, node.attrs));
    return mask ? [...grads, undefined] : grads;
  },
  decompose: ([q, k, v, mask], a, type) => {
    const p = parts(a);
    const { raised, total } = raise(wide(q!), wide(k!), mask, p);
    const mixed = contract(raised, wide(v!), [p.over]);
    return cast(mask ? meanOf(mixed, total) : div(mixed, total), type.dtype);
  },
  samples: [unit, unit, unit, flag],
  cases: [
    { operands: [qT, kT, vT], attrs: usual },
    { operands: [qT, kT, vT, maskT], attrs: usual },
    { operands: [qT, kT, kT, maskT], attrs: usual },
  ],
  tolerance,
});

export interface AttentionAxes {
  readonly dot: string;
  readonly over: string;
  /** Multiplies the logits; 1/sqrt of the dot axis's size is the custom. */
  readonly scale: number;
}

/** Attention of q over the keys k and values v; `mask` is true where a key is visible. */
export const attention = (q: Node, k: Node, v: Node, axes: AttentionAxes, mask?: Node): Node =>
  build("attention", mask ? [q, k, v, mask] : [q, k, v], { ...axes });

/**
 * Attention with `bias` added to the scaled logits, such as ALiBi's or learned relative positions. It is spelled out, so that
 * bias and mask may be anything and have gradients; the logits of all keys are in memory.
 */
export function biasedAttention(q: Node, k: Node, v: Node, bias: Node, axes: AttentionAxes, mask?: Node): Node {
  const logits = add(mul(contract(q, k, [axes.dot]), axes.scale), bias);
  const { raised, total } = raiseLogits(mask ? select(mask, logits, hidden) : logits, mask, axes);
  const mixed = contract(raised, v, [axes.over]);
  return mask ? meanOf(mixed, total) : div(mixed, total);
}

record({
  name: "attention_lse",
  kind: "composite",
  doc: {
    summary:
      "log Σ exp of the masked, scaled logits of each row, in f32: what the backward pass keeps of the forward one.",
  },
  half: "operands",
  operands: ["q", "k", "mask?"],
  roles: { q: "factor", k: "factor", mask: "mask" },
  core: { kind: "attention", pass: "forward", part: "statistic", rows: queryRows },
  work: ([q, k], a) => attentionWork([q!, k!], a, { dot: 1, width: 0 }),
  attrs: attentionAttrs,
  constraints: attentionConstraints,
  infer: ([q, k, mask], a) => {
    check(q!, k!, tensorType(k!.dtype, [requireAxes(k!, [a.over as string], "C2", "k")[0]!]), mask, parts(a));
    return tensorType("f32", rowAxes(q!, k!, parts(a)));
  },
  reference: (operands, a, type) => referenceStatistic(operands, parts(a), type),
  decompose: ([q, k, mask], a) => {
    const { total, top } = raise(wide(q!), wide(k!), mask, parts(a));
    return add(top, log(mask ? max(total, 1e-30) : total));
  },
  samples: [unit, unit, flag],
  cases: [
    { operands: [qT, kT], attrs: usual },
    { operands: [qT, kT, maskT], attrs: usual },
  ],
  tolerance,
});

/** The row statistics that attention's gradients need. */
export const attentionLse = (q: Node, k: Node, mask: Node | undefined, a: Attrs): Node =>
  build("attention_lse", mask ? [q, k, mask] : [q, k], a);

/** dS = P · (dO·v − δ): the cotangent of the scaled logits. */
function logitCotangent(operands: readonly Node[], p: Parts): { weights: Node; dLogits: Node } {
  const [q, k, v, lse, delta, dy, mask] = operands as [Node, Node, Node, Node, Node, Node, Node | undefined];
  const weights = probabilities(q, k, mask, lse, p);
  const own = v.type.axes.filter((x) => x.name !== p.over && !hasAxis(lse.type, x.name)).map((x) => x.name);
  const seen = own.length === 0 ? mul(dy, v) : contract(dy, v, own);
  const dLogits = mul(weights, sub(seen, delta));
  return { weights, dLogits: mask ? select(mask, dLogits, 0) : dLogits };
}

const gradientCore: Readonly<Record<"q" | "k" | "v", AttentionCore>> = {
  q: { kind: "attention", pass: "backward_q", part: "logits", rows: withoutDot },
  k: { kind: "attention", pass: "backward_kv", part: "logits", rows: withoutDot },
  v: { kind: "attention", pass: "backward_kv", part: "weights", rows: keyRows },
};

/** The rows of v's cotangent: its axes that the logits have; its own width may be named as the dot axis is. */
function keyRows([q, k]: readonly TensorType[], a: Attrs, type: TensorType): Axis[] {
  const logits = logitAxes(q!, k!, parts(a).dot);
  return type.axes.filter((x) => logits.some((l) => l.name === x.name));
}

function withoutDot(_operands: readonly TensorType[], a: Attrs, type: TensorType): Axis[] {
  return type.axes.filter((x) => x.name !== parts(a).dot);
}

const gradientOf = {
  q: (o: readonly Node[], p: Parts) => mul(contractTo(logitCotangent(o, p).dLogits, o[1]!, o[0]!), p.scale),
  k: (o: readonly Node[], p: Parts) => mul(contractTo(logitCotangent(o, p).dLogits, o[0]!, o[1]!), p.scale),
  v: (o: readonly Node[], p: Parts) => contractTo(logitCotangent(o, p).weights, o[5]!, o[2]!),
} as const;

(["q", "k", "v"] as const).forEach((which, position) => {
  record({
    name: `attention_grad_${which}`,
    kind: "composite",
    doc: {
      summary: `The cotangent of ${which} in attention, from the row statistics lse and delta = Σ dy·y.`,
      source: "Dao et al. 2022 (FlashAttention), appendix B.2",
    },
    half: "safe",
    operands: ["q", "k", "v", "lse", "delta", "dy", "mask?"],
    roles: { q: "factor", k: "factor", v: "factor", lse: "statistic", delta: "statistic", dy: "factor", mask: "mask" },
    core: gradientCore[which],
    work: (t, a) => attentionWork(t, a, { dot: which === "v" ? 1 : 2, width: 1 }),
    attrs: attentionAttrs,
    constraints: attentionConstraints,
    infer: (t, a) => {
      check(t[0]!, t[1]!, t[2]!, t[6], parts(a));
      return t[position]!;
    },
    reference: (operands, a, type) => referenceGradient(which, operands, parts(a), type),
    decompose: (operands, a, type) => cast(gradientOf[which](operands.map(wide), parts(a)), type.dtype),
    samples: [unit, unit, unit, { low: 1, high: 2 }, unit, unit, flag],
    cases: [
      { operands: [qT, kT, vT, rowT, rowT, outT], attrs: usual },
      { operands: [qT, kT, vT, rowT, rowT, outT, maskT], attrs: usual },
      { operands: [qT, kT, kT, rowT, rowT, outD, maskT], attrs: usual },
    ],
    tolerance,
  });
});

/** Walks every (row, key) pair and adds its part to the cotangent asked for. */
function referenceGradient(
  which: "q" | "k" | "v",
  operands: readonly RefTensor[],
  p: Parts,
  type: TensorType,
): Float64Array {
  const [q, k, v, lse, delta, dy, mask] = operands as [
    RefTensor,
    RefTensor,
    RefTensor,
    RefTensor,
    RefTensor,
    RefTensor,
    RefTensor,
  ];
  const logits = tensorType("f32", logitAxes(q.type, k.type, p.dot));
  const values = referenceRows(q, k, mask, p, logits);
  const own = v.type.axes.filter((x) => x.name !== p.over && !hasAxis(logits, x.name));
  const target = { q, k, v }[which];
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
    if (mask && logit === Number.NEGATIVE_INFINITY) return 0; // hidden: whatever its value is
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
    const other = which === "q" ? k : q;
    const [base, step, own_] = [
      at(which === "q" ? ks! : qs!),
      strideOf(other.type, p.dot),
      strideOf(target.type, p.dot),
    ];
    const dLogit = weight * (seen - delta.data[at(ds)]!) * p.scale;
    for (let e = 0; e < dotSize; e++) out[po + e * own_]! += dLogit * other.data[base + e * step]!;
    return 0;
  });
  return out;
}
