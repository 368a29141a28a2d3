/**
 * Scaled dot-product attention over named axes, forward and backward, without the [query, key] matrix in memory where a
 * kernel exists. Every axis that is neither contracted nor attended over is batched by name.
 */
import { build } from "../ir/build.ts";
import type { Attrs, Node } from "../ir/node.ts";
import { type Axis, hasAxis, tensorType } from "../ir/type.ts";
import { attentionCotangents } from "./attention-gradients.ts";
import { referenceAttention, referenceStatistic } from "./attention-reference.ts";
import {
  attentionAttrs,
  attentionWork,
  casesOf,
  check,
  flag,
  given,
  kT,
  logitAxes,
  mayBeFullyMasked,
  meanOf,
  outAxes,
  parts,
  qT,
  queryRows,
  raise,
  rolesOf,
  rowAxes,
  tolerance,
  unit,
  valuesOfKeys,
  variantOf,
  variants,
  vT,
  wide,
  withLast,
} from "./attention-shape.ts";
import { contract } from "./contraction.ts";
import { add, cast, div, log, max, mul } from "./elementwise.ts";
import { record } from "./kinds.ts";
import { broadcast, reduceSum } from "./reductions.ts";

const capping = " With softcap c, c · tanh(x / c) of the scaled logits x, before a bias.";
const hiding = " A bias of −1e30 or less, such as minus infinity, masks a key.";

for (const variant of variants) {
  const { biased } = variant;
  const names = variant.operands("q", "k", "v");
  record({
    name: variant.name("attention"),
    kind: "composite",
    doc: {
      summary: biased
        ? `softmax(scale · q·k + bias, masked) · v over the key axis. A row that sees no key gives 0.${hiding}${capping}`
        : `softmax(scale · q·k, masked) · v over the key axis. A row that sees no key gives 0.${capping}`,
      source:
        "Vaswani et al. 2017, section 3.2.1; Dao et al. 2022 (FlashAttention), section 3.1, for the kernel; Gemma Team 2024 (Gemma 2), section 2, for softcap",
    },
    half: "safe",
    operands: names,
    roles: rolesOf(names),
    core: { kind: "attention", pass: "forward", part: "values", rows: queryRows },
    work: (t, a) => attentionWork(t, a, { dot: 1, width: 1 }),
    attrs: attentionAttrs,
    constraints: variant.constraints,
    infer: (operands, a) => {
      const t = given(names, operands);
      check(t.q, t.k, t.v, t, parts(a));
      return tensorType(t.q.dtype, outAxes(t.q, t.v, parts(a)));
    },
    reference: (operands, a, type) => referenceAttention(given(names, operands), parts(a), type),
    gradient: (node, dy) => {
      const g = given(names, node.operands);
      const lse = attentionLse(g.q, g.k, g.mask, node.attrs, g.bias);
      const own = node.type.axes.filter((x) => !hasAxis(lse.type, x.name)).map((x) => x.name);
      const delta = own.length === 0 ? mul(dy, node) : reduceSum(mul(dy, node), own);
      const cotangents = attentionCotangents({ ...g, lse, delta, dy }, node.attrs);
      return g.mask ? [...cotangents, undefined] : cotangents;
    },
    decompose: (operands, a, type) => {
      const g = given(names, operands);
      const { raised, total } = raise(g, parts(a));
      const mixed = contract(raised, wide(g.v), [parts(a).over]);
      return cast(mayBeFullyMasked(g) ? meanOf(mixed, total) : div(mixed, total), type.dtype);
    },
    samples: [unit, unit, unit, ...(biased ? [unit] : []), flag],
    cases: casesOf(biased, [
      [qT, kT, vT],
      [qT, kT, kT],
    ]),
    tolerance,
  });

  const ofLogits = variant.operands("q", "k");
  record({
    name: variant.name("attention_lse"),
    kind: "composite",
    doc: {
      summary: `log Σ exp of each row's masked, scaled logits${biased ? " with bias" : ""}, in f32: the statistic that the forward pass saves for the backward pass.`,
    },
    half: "operands",
    operands: ofLogits,
    roles: rolesOf(ofLogits),
    core: { kind: "attention", pass: "forward", part: "statistic", rows: queryRows },
    work: ([q, k], a) => attentionWork([q!, k!], a, { dot: 1, width: 0 }),
    attrs: attentionAttrs,
    constraints: variant.constraints,
    infer: (operands, a) => {
      const t = given(ofLogits, operands);
      check(t.q, t.k, valuesOfKeys(t.k, a), t, parts(a));
      return tensorType("f32", rowAxes(t.q, t.k, parts(a)));
    },
    reference: (operands, a, type) => referenceStatistic(given(ofLogits, operands), parts(a), type),
    decompose: (operands, a) => {
      const g = given(ofLogits, operands);
      const { total, top } = raise(g, parts(a));
      return add(top, log(mayBeFullyMasked(g) ? max(total, 1e-30) : total));
    },
    samples: [unit, unit, ...(biased ? [unit] : []), flag],
    cases: casesOf(biased, [[qT, kT]]),
    tolerance,
  });
}

export interface AttentionAxes {
  readonly dot: string;
  readonly over: string;
  /** Multiplies the logits; usually 1/sqrt of the dot axis's size. */
  readonly scale: number;
  /** Bounds the scaled logits, softcap · tanh(logit / softcap), before a bias or a mask; default no bound. */
  readonly softcap?: number;
}

/** Attention of q over the keys k and values v; `mask` is true where a key is visible. */
export const attention = (q: Node, k: Node, v: Node, axes: AttentionAxes, mask?: Node): Node =>
  build("attention", mask ? [q, k, v, mask] : [q, k, v], { ...axes });

/**
 * Attention with `bias` added to the scaled logits, such as ALiBi or learned relative positions; it may be an
 * expression of positions. An axis that only the bias has becomes an axis of the result.
 */
export function biasedAttention(q: Node, k: Node, v: Node, bias: Node, axes: AttentionAxes, mask?: Node): Node {
  const logits: readonly Axis[] = logitAxes(q.type, k.type, axes.dot);
  const more = bias.type.axes.filter((a) => !logits.some((l) => l.name === a.name));
  return build("biased_attention", withLast([broadcast(q, more), k, v], { bias, mask }), { ...axes });
}

/** The row statistics that attention's gradients need. */
export const attentionLse = (q: Node, k: Node, mask: Node | undefined, a: Attrs, bias?: Node): Node =>
  build(variantOf({ bias }).name("attention_lse"), withLast([q, k], { bias, mask }), a);
