/**
 * Split-K attention: with few queries and many keys, as in decoding, runs of keys are processed in parallel to fill the
 * device, and their results are combined through their statistics. Introduced by a pass after differentiation.
 */
import { build } from "../ir/build.ts";
import type { Attrs, Node } from "../ir/node.ts";
import type { AttentionCore, AttrSpec } from "../ir/op.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import type { AttentionAxes } from "./attention.ts";
import { type KeyRange, referenceAttention, referenceStatistic } from "./attention-reference.ts";
import {
  attentionAttrs,
  attentionWork,
  casesOf,
  check,
  flag,
  type Given,
  given,
  kT,
  meanOf,
  outAxes,
  parts,
  qT,
  raise,
  rolesOf,
  rowAxes,
  tolerance,
  unit,
  usual,
  valuesOfKeys,
  variantOf,
  variants,
  vT,
  wide,
  withLast,
} from "./attention-shape.ts";
import { contract } from "./contraction.ts";
import { add, and, cast, le, log, lt, max, mul } from "./elementwise.ts";
import { record } from "./kinds.ts";
import { iota, sizeOf } from "./sources.ts";

const attrs: Readonly<Record<string, AttrSpec>> = { ...attentionAttrs, part: { kind: "sized_axis" } };
const partsConstraint = { C6: "the part axis has a known size and is not an axis of an operand" };

const partOf = (a: Attrs): Axis => a.part as unknown as Axis;

function withPart(a: Attrs, operands: readonly (TensorType | undefined)[], axes: readonly Axis[]): Axis[] {
  const part = partOf(a);
  if (typeof part.size !== "number" || operands.some((t) => t && hasAxis(t, part.name)))
    throw new OpViolation("C6", `the parts lie along "${part.name}", of size ${part.size}`);
  return [part, ...axes];
}

/** Run p of P over n keys begins at ceil(p·n / P), so run lengths differ by at most one key. */
const rangeOf =
  (count: number): KeyRange =>
  ([part], keys) => [Math.ceil((part! * keys) / count), Math.ceil(((part! + 1) * keys) / count)];

/** Whether a key belongs to a part and is visible: [part, key, ...] */
function visibleIn(k: Node, mask: Node | undefined, a: Attrs): Node {
  const axis = findAxis(k.type, a.over as string)!;
  const part = iota(partOf(a));
  const [keys, key] = [sizeOf(axis.size, "i32"), mul(iota(axis), Number(partOf(a).size))];
  const own = and(le(mul(part, keys), key), lt(key, mul(add(part, 1), keys)));
  return mask ? and(own, mask) : own;
}

/** The rows of a result: those of its queries, plus the part axis. */
const partRows: AttentionCore["rows"] = ([q, k], a, type) => {
  const rows = rowAxes(q!, k!, parts(a));
  return type.axes.filter((x) => x.name === partOf(a).name || rows.some((r) => r.name === x.name));
};

const source = "Dao et al. 2023, Flash-Decoding for long-context inference";
const attrsOf = (count: number) => ({ ...usual, part: { name: "part", size: count } });
/** The cases in three parts, except the third: more parts than there are keys. */
const inParts = (cases: ReturnType<typeof casesOf>) =>
  cases.map(({ operands, attrs }, i) => ({ operands, attrs: { ...attrs, ...attrsOf(i === 2 ? 7 : 3) } }));

for (const variant of variants) {
  const { biased } = variant;
  const names = variant.operands("q", "k", "v");
  record({
    name: variant.name("attention_parts"),
    kind: "composite",
    doc: {
      summary: `Split-K attention${biased ? " with a bias" : ""}: over each of several contiguous ranges of the keys separately. Range lengths differ by at most one key. A row that sees no key of a range gives 0 there.`,
      source,
    },
    half: "safe",
    operands: names,
    roles: rolesOf(names),
    core: { kind: "attention", pass: "forward", part: "values", rows: partRows },
    work: (t, a) => attentionWork(t, a, { dot: 1, width: 1 }),
    attrs,
    constraints: { ...variant.constraints, ...partsConstraint },
    infer: (operands, a) => {
      const t = given(names, operands);
      check(t.q, t.k, t.v, t, parts(a));
      return tensorType(t.q.dtype, withPart(a, operands, outAxes(t.q, t.v, parts(a))));
    },
    reference: (operands, a, type) =>
      referenceAttention(given(names, operands), parts(a), type, rangeOf(Number(partOf(a).size))),
    decompose: (operands, a, type) => {
      const g = given(names, operands);
      const { raised, total } = raise({ ...g, mask: visibleIn(g.k, g.mask, a) }, parts(a));
      return cast(meanOf(contract(raised, wide(g.v), [parts(a).over]), total), type.dtype);
    },
    samples: [unit, unit, unit, ...(biased ? [unit] : []), flag],
    cases: inParts(
      casesOf(biased, [
        [qT, kT, vT],
        [qT, kT, kT],
      ]),
    ),
    tolerance,
  });

  const ofLogits = variant.operands("q", "k");
  record({
    name: variant.name("attention_parts_lse"),
    kind: "composite",
    doc: {
      summary: `log Σ exp of each row's masked, scaled logits${biased ? " with bias" : ""}, over each range of the keys separately, in f32.`,
      source,
    },
    half: "operands",
    operands: ofLogits,
    roles: rolesOf(ofLogits),
    core: { kind: "attention", pass: "forward", part: "statistic", rows: partRows },
    work: ([q, k], a) => attentionWork([q!, k!], a, { dot: 1, width: 0 }),
    attrs,
    constraints: { ...variant.constraints, ...partsConstraint },
    infer: (operands, a) => {
      const t = given(ofLogits, operands);
      check(t.q, t.k, valuesOfKeys(t.k, a), t, parts(a));
      return tensorType("f32", withPart(a, operands, rowAxes(t.q, t.k, parts(a))));
    },
    reference: (operands, a, type) =>
      referenceStatistic(given(ofLogits, operands), parts(a), type, rangeOf(Number(partOf(a).size))),
    decompose: (operands, a) => {
      const g = given(ofLogits, operands);
      const { total, top } = raise({ ...g, mask: visibleIn(g.k, g.mask, a) }, parts(a));
      return add(top, log(max(total, 1e-30)));
    },
    samples: [unit, unit, ...(biased ? [unit] : []), flag],
    cases: inParts(casesOf(biased, [[qT, kT]])),
    tolerance,
  });
}

/** Attention over each of several runs of the keys, and the statistics that combine them: [part, ...] */
export function attentionParts(g: Pick<Given<Node>, "q" | "k" | "v" | "bias" | "mask">, by: AttentionAxes, part: Axis) {
  const attributes = { ...by, part: { name: part.name, size: part.size } };
  const { name } = variantOf(g);
  return {
    values: build(name("attention_parts"), withLast([g.q, g.k, g.v], g), attributes),
    statistic: build(name("attention_parts_lse"), withLast([g.q, g.k], g), attributes),
  };
}
