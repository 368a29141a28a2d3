/**
 * Attention as a softmax, where it is not an operator, and its gradients from the same softmax: onnxruntime has one fast
 * kernel for a softmax, and the forward pass has computed it already.
 *
 *     before  attention(q, k, v, mask)
 *     after   contract(softmax(scale · q·k + bias), v, [key])
 */
import {
  type AttentionCore,
  type Attrs,
  coreOf,
  type Node,
  ops,
  type Pass,
  rewriteGraph,
} from "../../../compiler/index.ts";
import { isExpressible } from "../emit/table.ts";
import type { EmitOptions } from "../options.ts";

export const softmaxAttention = (options: EmitOptions): Pass => ({
  name: "softmax-attention",
  // What is fused is an operator where that is asked for; the rest is taken apart again here, in its precision.
  needs: ["fuse-attention", "half-precision"],
  run: (graph) => rewriteGraph(graph, (node) => attentionBySoftmax(node, (n) => isExpressible(n, options))),
});

/** Far below every logit, and finite with one added to it: a row of infinities would give NaN. */
const hidden = { f32: -1e30, f16: -3e4 } as const;

function attentionBySoftmax(node: Node, keep: (node: Node) => boolean): Node {
  const order = node.type.axes.map((a) => a.name);
  const core = coreOf(node);
  // What has axes of its own is attention over parts of the keys: its decomposition has the bounds of the parts.
  if (core?.kind !== "attention" || node.type.axes.some((a) => !node.operands.some((o) => has(o, a.name)))) return node;
  if (core.part === "values" && !keep(node)) {
    const [q, k, v, mask] = node.operands as [Node, Node, Node, Node | undefined];
    const mixed = ops.contract(weights(q, k, mask, node.attrs), v, [node.attrs.over as string]);
    return ops.transpose(mask ? ops.mul(mixed, sees(mask, node)) : mixed, order);
  }
  if (core.pass === "forward" || !hasOwnRows(node)) return node;
  return ops.transpose(gradient(core, node), order);
}

/** True when the row statistics are those of the node's own q, k and mask, so that its probabilities are a softmax. */
function hasOwnRows({ operands: [q, k, , lse, , , mask], attrs }: Node): boolean {
  const from = lse!.operands;
  return isStatistic(lse!) && from[0] === q && from[1] === k && from[2] === mask && lse!.attrs.scale === attrs.scale;
}

function isStatistic(node: Node): boolean {
  const core = coreOf(node);
  return core?.kind === "attention" && core.part === "statistic";
}

/** softmax(scale · q·k), the hidden at 0: [query..., key] */
function weights(q: Node, k: Node, mask: Node | undefined, { dot, over, scale }: Attrs): Node {
  const dtype = q.type.dtype as "f32" | "f16";
  const logits = scaledProduct(q, k, dot as string, scale as number);
  if (!mask) return ops.softmax(logits, over as string);
  const bias = ops.select(mask, ops.constant(0, dtype), ops.constant(hidden[dtype], dtype));
  return ops.softmax(ops.add(logits, bias), over as string);
}

/** scale · q·k; in f16 a factor is scaled and not the product, which in wide heads may pass what f16 holds. */
const scaledProduct = (q: Node, k: Node, dot: string, scale: number): Node =>
  q.type.dtype === "f16" ? ops.contract(ops.mul(q, scale), k, [dot]) : ops.mul(ops.contract(q, k, [dot]), scale);

/** 1 for the rows that see a key, 0 for those that see none: their softmax is uniform where attention gives 0. */
function sees(mask: Node, { type, attrs }: Node): Node {
  const visible = ops.cast(mask, type.dtype);
  const over = attrs.over as string;
  return visible.type.axes.some((a) => a.name === over) ? ops.reduceMax(visible, [over]) : visible;
}

/** The cotangent of q, k or v; see compiler/ops/attention.ts, which says the same with exp(logits − lse). */
function gradient({ part, pass }: AttentionCore, node: Node): Node {
  const [q, k, v, , delta, dy, mask] = node.operands as [Node, Node, Node, Node, Node, Node, Node | undefined];
  const p = weights(q, k, mask, node.attrs);
  const seen = mask ? ops.mul(dy, sees(mask, node)) : dy;
  if (part === "weights") return ops.contractTo(p, seen, v);
  const own = v.type.axes.filter((a) => a.name !== node.attrs.over && !has(delta, a.name)).map((a) => a.name);
  const dp = own.length === 0 ? ops.mul(seen, v) : ops.contract(seen, v, own);
  const dLogits = ops.mul(p, ops.sub(dp, delta));
  const [other, like] = pass === "backward_q" ? [k, q] : [q, k];
  return ops.mul(ops.contractTo(dLogits, other, like), node.attrs.scale as number);
}

const has = (node: Node, axis: string): boolean => node.type.axes.some((a) => a.name === axis);
