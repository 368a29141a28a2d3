/**
 * Lowers attention to a softmax where it is not an operator, and its gradients to the same softmax: onnxruntime has a
 * fast softmax kernel, and the forward pass has already computed it.
 *
 *     before  attention(q, k, v, mask)
 *     after   contract(softmax(scale · q·k + bias), v, [key])
 */
import {
  type AttentionCore,
  type Attrs,
  coreOf,
  type Node,
  operandNamed,
  ops,
  type Pass,
  rewriteGraph,
} from "../../../compiler/index.ts";
import { isExpressible } from "../emit/table.ts";
import type { EmitOptions } from "../options.ts";

export const softmaxAttention = (options: EmitOptions): Pass => ({
  name: "softmax-attention",
  // Fused attention stays an operator if requested; the rest is expanded here, in its precision.
  needs: ["fuse-attention", "half-precision"],
  run: (graph) => rewriteGraph(graph, (node) => attentionBySoftmax(node, (n) => isExpressible(n, options))),
});

/** Far below every logit, but finite even after adding one: a row of infinities would give NaN. */
const hidden = { f32: -1e30, f16: -3e4 } as const;

function attentionBySoftmax(node: Node, keep: (node: Node) => boolean): Node {
  const order = node.type.axes.map((a) => a.name);
  const core = coreOf(node);
  // A result axis that no operand has means attention over ranges of keys, which only the decomposition bounds.
  if (core?.kind !== "attention" || node.type.axes.some((a) => !node.operands.some((o) => has(o, a.name)))) return node;
  const g = givenTo(node);
  if (core.part === "values" && !keep(node)) {
    const mixed = ops.contract(weights(g, node.attrs), g.v, [node.attrs.over as string]);
    return ops.transpose(mayBeFullyMasked(g) ? ops.mul(mixed, sees(g, node)) : mixed, order);
  }
  if (core.pass === "forward" || !hasOwnRows(node, g)) return node;
  return ops.transpose(gradient(core, node, g), order);
}

interface Given {
  readonly q: Node;
  readonly k: Node;
  readonly v: Node;
  readonly bias: Node | undefined;
  readonly mask: Node | undefined;
}

const givenTo = (node: Node): Given => {
  const [q, k, v, bias, mask] = ["q", "k", "v", "bias", "mask"].map((name) => operandNamed(node, name));
  return { q: q!, k: k!, v: v!, bias, mask };
};

/** Whether every key of a row may be masked. */
const mayBeFullyMasked = ({ bias, mask }: Given): boolean => bias !== undefined || mask !== undefined;

/** True if the row statistics are of the node's own logits, so that its probabilities are a softmax. */
function hasOwnRows(node: Node, g: Given): boolean {
  const lse = operandNamed(node, "lse")!;
  if (!isStatistic(lse) || lse.attrs.scale !== node.attrs.scale || lse.attrs.softcap !== node.attrs.softcap)
    return false;
  const from = givenTo(lse);
  return (["q", "k", "mask"] as const).every((name) => from[name] === g[name]) && isSameBias(from.bias, g.bias);
}

/** Whether two biases are equal up to broadcast axes of `b`. */
const isSameBias = (a: Node | undefined, b: Node | undefined): boolean =>
  a === b || (a !== undefined && isRepeatOf(a, b!));

const isRepeatOf = (a: Node, b: Node): boolean =>
  b.operands.length === 1 &&
  b.operands[0] === a &&
  b.type.axes.length > a.type.axes.length &&
  a.type.axes.every((x) => has(b, x.name));

function isStatistic(node: Node): boolean {
  const core = coreOf(node);
  return core?.kind === "attention" && core.part === "statistic";
}

/** softmax(scale · q·k + bias), masked entries 0: [query..., key] */
function weights(g: Given, attrs: Attrs): Node {
  const logits = cappedLogits(g, attrs);
  const added = addedTo(g);
  return ops.softmax(added ? ops.add(logits, added) : logits, attrs.over as string);
}

/** scale · q·k, softly capped. */
function cappedLogits({ q, k }: Given, { dot, scale, softcap }: Attrs): Node {
  const scaled = scaledProduct(q, k, dot as string, scale as number);
  return softcap === undefined ? scaled : ops.mul(ops.tanh(ops.div(scaled, softcap as number)), softcap as number);
}

/** The cotangents of the scaled logits from those of the capped: 1 − tanh² is the derivative of tanh. */
function uncapped(dLogits: Node, g: Given, attrs: Attrs): Node {
  if (attrs.softcap === undefined) return dLogits;
  const part = ops.div(cappedLogits(g, attrs), attrs.softcap as number);
  return ops.mul(dLogits, ops.sub(1, ops.mul(part, part)));
}

/** The term added to the logits: the bias, or a very low value for masked entries. */
function addedTo({ q, bias, mask }: Given): Node | undefined {
  const dtype = q.type.dtype as "f32" | "f16";
  const lowest = ops.constant(hidden[dtype], dtype);
  // Clamp the bias: a row whose logits are all minus infinity would give NaN.
  const above = bias && ops.max(ops.cast(bias, dtype), lowest);
  return mask ? ops.select(mask, above ?? ops.constant(0, dtype), lowest) : above;
}

/** scale · q·k; in f16, scales q before the product, which could overflow for wide heads. */
const scaledProduct = (q: Node, k: Node, dot: string, scale: number): Node =>
  q.type.dtype === "f16" ? ops.contract(ops.mul(q, scale), k, [dot]) : ops.mul(ops.contract(q, k, [dot]), scale);

/** 0 for fully masked rows, where attention gives 0 but the softmax is uniform; 1 for all others. */
function sees(g: Given, { type, attrs }: Node): Node {
  const over = attrs.over as string;
  const added = g.bias && addedTo(g);
  const visible = added ? ops.gt(added, hidden[g.q.type.dtype as "f32" | "f16"]) : g.mask!;
  const flags = ops.cast(visible, type.dtype);
  return has(flags, over) ? ops.reduceMax(flags, [over]) : flags;
}

/**
 * The cotangent of q, k, v or the bias; compiler/ops/attention-gradients.ts computes the same with exp(logits − lse).
 */
function gradient({ part, pass }: AttentionCore, node: Node, g: Given): Node {
  const { q, k, v } = g;
  const [delta, dy] = ["delta", "dy"].map((name) => operandNamed(node, name)!) as [Node, Node];
  const p = weights(g, node.attrs);
  const seen = mayBeFullyMasked(g) ? ops.mul(dy, ops.cast(sees(g, node), dy.type.dtype)) : dy;
  if (part === "weights") return ops.contractTo(p, seen, v);
  const own = v.type.axes.filter((a) => a.name !== node.attrs.over && !has(delta, a.name)).map((a) => a.name);
  const dp = own.length === 0 ? ops.mul(seen, v) : ops.contract(seen, v, own);
  const dLogits = ops.mul(p, ops.sub(dp, delta));
  if (part === "pairs") {
    const others = dLogits.type.axes.filter((a) => !has(node, a.name)).map((a) => a.name);
    return others.length === 0 ? dLogits : ops.reduceSum(dLogits, others);
  }
  const [other, like] = pass === "backward_q" ? [k, q] : [q, k];
  return ops.mul(ops.contractTo(uncapped(dLogits, g, node.attrs), other, like), node.attrs.scale as number);
}

const has = (node: Node, axis: string): boolean => node.type.axes.some((a) => a.name === axis);
