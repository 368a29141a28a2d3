/**
 * Attention over runs of the keys, each by itself: where there are few queries and many keys, as in decoding, the runs
 * keep an adapter busy, and their results meet by their statistics. Made by a pass after gradients are.
 */
import { build } from "../ir/build.ts";
import type { Attrs, Node } from "../ir/node.ts";
import type { AttentionCore, AttrSpec } from "../ir/op.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import {
  type AttentionAxes,
  attentionAttrs,
  attentionConstraints,
  attentionWork,
  check,
  type KeyRange,
  meanOf,
  outAxes,
  parts,
  raise,
  referenceAttention,
  referenceStatistic,
  rowAxes,
  wide,
} from "./attention.ts";
import { contract } from "./contraction.ts";
import { add, and, cast, le, log, lt, max, mul } from "./elementwise.ts";
import { record, requireAxes } from "./kinds.ts";
import { iota, sizeOf } from "./sources.ts";

const attrs: Readonly<Record<string, AttrSpec>> = { ...attentionAttrs, part: { kind: "sized_axis" } };
const constraints = {
  ...attentionConstraints,
  C6: "the axis of the parts is not one of the operands, and of a known size",
};

const partOf = (a: Attrs): Axis => a.part as unknown as Axis;

function withPart(a: Attrs, operands: readonly (TensorType | undefined)[], axes: readonly Axis[]): Axis[] {
  const part = partOf(a);
  if (typeof part.size !== "number" || operands.some((t) => t && hasAxis(t, part.name)))
    throw new OpViolation("C6", `the parts lie along "${part.name}", of size ${part.size}`);
  return [part, ...axes];
}

/** Run p of P of n keys begins at p·n / P, rounded up: no run is more than one key longer than another. */
const rangeOf =
  (count: number): KeyRange =>
  ([part], keys) => [Math.ceil((part! * keys) / count), Math.ceil(((part! + 1) * keys) / count)];

/** Whether a key is of a part, and visible. [part, key, ...] */
function visibleIn(k: Node, mask: Node | undefined, a: Attrs): Node {
  const axis = findAxis(k.type, a.over as string)!;
  const part = iota(partOf(a));
  const [keys, key] = [sizeOf(axis.size, "i32"), mul(iota(axis), Number(partOf(a).size))];
  const own = and(le(mul(part, keys), key), lt(key, mul(add(part, 1), keys)));
  return mask ? and(own, mask) : own;
}

/** The rows of a result: those of its queries, and the part. */
const partRows: AttentionCore["rows"] = ([q, k], a, type) => {
  const rows = rowAxes(q!, k!, parts(a));
  return type.axes.filter((x) => x.name === partOf(a).name || rows.some((r) => r.name === x.name));
};

const unit = { low: -1, high: 1 };
const flag = { low: 0, high: 1, integer: true };
const axes = (sizes: Readonly<Record<string, number>>) => Object.entries(sizes).map(([name, size]) => ({ name, size }));
const qT = tensorType("f32", axes({ b: 2, q: 3, h: 2, d: 4 }));
const kT = tensorType("f32", axes({ b: 2, k: 5, h: 2, d: 4 }));
const vT = tensorType("f32", axes({ b: 2, k: 5, h: 2, w: 3 }));
const maskT = tensorType("bool", axes({ q: 3, k: 5 }));
const usual = { dot: "d", over: "k", scale: 0.5, part: { name: "part", size: 3 } };
const tolerance = { f32: { absolute: 1e-5, relative: 1e-4 } };
const source = "Dao et al. 2023, Flash-Decoding for long-context inference";

record({
  name: "attention_parts",
  kind: "composite",
  doc: {
    summary:
      "Attention over each of several runs of the keys by itself, of which none is more than one key longer than another. A run that a row does not see gives 0.",
    source,
  },
  half: "safe",
  operands: ["q", "k", "v", "mask?"],
  roles: { q: "factor", k: "factor", v: "factor", mask: "mask" },
  core: { kind: "attention", pass: "forward", part: "values", rows: partRows },
  work: (t, a) => attentionWork(t, a, { dot: 1, width: 1 }),
  attrs,
  constraints,
  infer: ([q, k, v, mask], a) => {
    check(q!, k!, v!, mask, parts(a));
    return tensorType(q!.dtype, withPart(a, [q, k, v], outAxes(q!, v!, parts(a))));
  },
  reference: (operands, a, type) => referenceAttention(operands, parts(a), type, rangeOf(Number(partOf(a).size))),
  decompose: ([q, k, v, mask], a, type) => {
    const { raised, total } = raise(wide(q!), wide(k!), visibleIn(k!, mask, a), parts(a));
    const mixed = contract(raised, wide(v!), [parts(a).over]);
    return cast(meanOf(mixed, total), type.dtype);
  },
  samples: [unit, unit, unit, flag],
  cases: [
    { operands: [qT, kT, vT], attrs: usual },
    { operands: [qT, kT, vT, maskT], attrs: usual },
    { operands: [qT, kT, kT, maskT], attrs: { ...usual, part: { name: "part", size: 7 } } },
  ],
  tolerance,
});

record({
  name: "attention_parts_lse",
  kind: "composite",
  doc: { summary: "log Σ exp of the masked, scaled logits of each row in each run of the keys, in f32.", source },
  half: "operands",
  operands: ["q", "k", "mask?"],
  roles: { q: "factor", k: "factor", mask: "mask" },
  core: { kind: "attention", pass: "forward", part: "statistic", rows: partRows },
  work: ([q, k], a) => attentionWork([q!, k!], a, { dot: 1, width: 0 }),
  attrs,
  constraints,
  infer: ([q, k, mask], a) => {
    check(q!, k!, tensorType(k!.dtype, [requireAxes(k!, [a.over as string], "C2", "k")[0]!]), mask, parts(a));
    return tensorType("f32", withPart(a, [q, k], rowAxes(q!, k!, parts(a))));
  },
  reference: (operands, a, type) => referenceStatistic(operands, parts(a), type, rangeOf(Number(partOf(a).size))),
  decompose: ([q, k, mask], a) => {
    const { total, top } = raise(wide(q!), wide(k!), visibleIn(k!, mask, a), parts(a));
    return add(top, log(max(total, 1e-30)));
  },
  samples: [unit, unit, flag],
  cases: [
    { operands: [qT, kT], attrs: usual },
    { operands: [qT, kT, maskT], attrs: usual },
  ],
  tolerance,
});

/** What attention is over each of several runs of the keys, and the statistics by which these meet. [part, ...] */
export function attentionParts(q: Node, k: Node, v: Node, by: AttentionAxes, part: Axis, mask?: Node) {
  const attributes = { ...by, part: { name: part.name, size: part.size } };
  const seen = mask ? [mask] : [];
  return {
    values: build("attention_parts", [q, k, v, ...seen], attributes),
    statistic: build("attention_parts_lse", [q, k, ...seen], attributes),
  };
}
