/** The gradients of attention, which recompute the weights from the row statistics of the forward pass. */
import { build } from "../ir/build.ts";
import type { Attrs, Node } from "../ir/node.ts";
import type { AttentionCore } from "../ir/op.ts";
import { type Axis, hasAxis, axisNames as namesOf, type TensorType, tensorType } from "../ir/type.ts";
import { referenceGradient } from "./attention-reference.ts";
import {
  attentionAttrs,
  attentionWork,
  casesOf,
  check,
  flag,
  type Given,
  given,
  kT,
  logitAxes,
  logitsOf,
  outD,
  outT,
  type Parts,
  parts,
  qT,
  rolesOf,
  rowT,
  seenOnly,
  tolerance,
  uncapped,
  unit,
  variants,
  vT,
  wide,
  withLast,
} from "./attention-shape.ts";
import { contract, contractTo } from "./contraction.ts";
import { cast, exp, mul, sub } from "./elementwise.ts";
import { record } from "./kinds.ts";
import { transpose } from "./movement.ts";
import { broadcast, reduceSum } from "./reductions.ts";

/**
 * The weights P = exp(logit − lse), and dS = P · (dO·v − δ), the cotangents of the logits: [query..., key]
 * The difference is as accurate as the logits, sums of products rounded to 2^-24 of their magnitude.
 */
function cotangents(g: Given<Node>, p: Parts): { weights: Node; dLogits: Node } {
  const { v, lse, delta, dy } = { ...g, lse: wide(g.lse), delta: wide(g.delta) };
  const logits = logitsOf(g, p);
  const weights = seenOnly(g, logits, exp(sub(logits, lse)));
  const own = v.type.axes.filter((x) => x.name !== p.over && !hasAxis(lse.type, x.name)).map((x) => x.name);
  const seen = own.length === 0 ? mul(wide(dy), wide(v)) : contract(wide(dy), wide(v), own);
  return { weights, dLogits: seenOnly(g, logits, mul(weights, sub(seen, delta))) };
}

type Which = "q" | "k" | "v" | "bias";

const cores: Readonly<Record<Which, AttentionCore>> = {
  q: { kind: "attention", pass: "backward_q", part: "logits", rows: withoutDot },
  k: { kind: "attention", pass: "backward_kv", part: "logits", rows: withoutDot },
  v: { kind: "attention", pass: "backward_kv", part: "weights", rows: keyRows },
  bias: { kind: "attention", pass: "backward_bias", part: "pairs", rows: (_operands, _a, type) => type.axes },
};

/** The rows of v's cotangent: its axes that the logits have. (v's own width may share the dot axis's name.) */
function keyRows([q, k]: readonly TensorType[], a: Attrs, type: TensorType): Axis[] {
  const logits = logitAxes(q!, k!, parts(a).dot);
  return type.axes.filter((x) => logits.some((l) => l.name === x.name));
}

function withoutDot(_operands: readonly TensorType[], a: Attrs, type: TensorType): Axis[] {
  return type.axes.filter((x) => x.name !== parts(a).dot);
}

const madeOf: Readonly<Record<Which, (g: Given<Node>, p: Parts) => Node>> = {
  q: (g, p) => mul(contractTo(uncapped(cotangents(g, p).dLogits, g, p), wide(g.k), g.q), p.scale),
  k: (g, p) => mul(contractTo(uncapped(cotangents(g, p).dLogits, g, p), wide(g.q), g.k), p.scale),
  v: (g, p) => contractTo(cotangents(g, p).weights, wide(g.dy), g.v),
  bias: (g, p) => {
    const { dLogits } = cotangents(g, p);
    const others = namesOf(dLogits.type).filter((n) => !hasAxis(g.bias!.type, n));
    return transpose(others.length === 0 ? dLogits : reduceSum(dLogits, others), namesOf(g.bias!.type));
  },
};

for (const variant of variants)
  for (const which of ["q", "k", "v", ...(variant.biased ? (["bias"] as const) : [])] as const) {
    const names = variant.operands("q", "k", "v", "lse", "delta", "dy");
    record({
      name: variant.name(`attention_grad_${which}`),
      kind: "composite",
      doc: {
        summary: `The cotangent of ${which} in the backward pass of attention, from the row statistics lse and delta = Σ dy·y.`,
        source: "Dao et al. 2022 (FlashAttention), appendix B.2",
      },
      half: which === "bias" ? "operands" : "safe",
      operands: names,
      roles: rolesOf(names),
      core: cores[which],
      work: (t, a) => attentionWork(t, a, { dot: which === "v" || which === "bias" ? 1 : 2, width: 1 }),
      attrs: attentionAttrs,
      constraints: variant.constraints,
      infer: (operands, a) => {
        const t = given(names, operands);
        check(t.q, t.k, t.v, t, parts(a));
        return which === "bias" ? tensorType("f32", t.bias!.axes) : t[which];
      },
      reference: (operands, a, type) => referenceGradient(which, given(names, operands), parts(a), type),
      decompose: (operands, a, type) => cast(madeOf[which](given(names, operands), parts(a)), type.dtype),
      samples: [unit, unit, unit, { low: 1, high: 2 }, unit, unit, ...(variant.biased ? [unit] : []), flag],
      cases: casesOf(variant.biased, [
        [qT, kT, vT, rowT, rowT, outT],
        [qT, kT, kT, rowT, rowT, outD],
      ]),
      tolerance,
    });
  }

/** The cotangents of q, k, v and the bias, if any, from the row statistics and the result's cotangent. */
export function attentionCotangents(g: Given<Node>, attrs: Attrs): (Node | undefined)[] {
  const { name } = variants[g.bias ? 1 : 0]!;
  const shared = withLast([g.q, g.k, g.v, g.lse, g.delta, g.dy], g);
  const made = ["q", "k", "v"].map((which) => build(name(`attention_grad_${which}`), shared, attrs));
  return g.bias ? [...made, biasCotangent(g, g.bias, attrs)] : made;
}

function biasCotangent(g: Given<Node>, bias: Node, attrs: Attrs): Node | undefined {
  const { dot, over } = parts(attrs);
  if (!hasAxis(bias.type, over)) return undefined; // a bias constant over a row's keys has no effect
  const logits = logitAxes(g.q.type, g.k.type, dot);
  const ofQueries = logits.filter((a) => !hasAxis(g.k.type, a.name));
  // A bias shared by all queries has few elements, each a long sum: first one per head and batch of the keys.
  const apart = ofQueries.some((a) => hasAxis(bias.type, a.name))
    ? []
    : logits.filter((a) => hasAxis(g.k.type, a.name) && !hasAxis(bias.type, a.name));
  const operands = withLast([g.q, g.k, g.v, g.lse, g.delta, g.dy], { bias: broadcast(bias, apart), mask: g.mask });
  const made = build("biased_attention_grad_bias", operands, attrs);
  const sum =
    apart.length === 0
      ? made
      : reduceSum(
          made,
          apart.map((a) => a.name),
        );
  return cast(sum, bias.type.dtype);
}
