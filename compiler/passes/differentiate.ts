/**
 * Reverse-mode differentiation by graph transformation. Only nodes between the loss and a wanted input are
 * differentiated, so nothing below the first trainable parameter is touched. Griewank, Walther 2008, chapter 3.
 */
import { UsageError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import { topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { hasAxis, printType } from "../ir/type.ts";
import { add, broadcastLike, constant, reduceSum, transpose } from "../ops/index.ts";

/**
 * The cotangents of `wanted` for the scalar `loss`, in their order and with their axes; zeros if the loss does not
 * depend on one. Throws UsageError when the loss is not a float scalar or an op on the path has no gradient.
 */
export function differentiate(loss: Node, wanted: readonly Node[]): Node[] {
  if (loss.type.axes.length > 0 || !["f32", "f16"].includes(loss.type.dtype)) {
    throw new UsageError(`a loss is a float scalar; this one is ${printType(loss.type)}: reduce its axes first`);
  }
  return withoutCapture(() => {
    const cotangents = propagate(loss, wanted);
    return wanted.map((w) => shapedLike(cotangents.get(w) ?? constant(0, w.type.dtype), w));
  });
}

function propagate(loss: Node, wanted: readonly Node[]): Map<Node, Node> {
  const order = topological([loss]);
  const active = activeNodes(order, new Set(wanted));
  const parts = new Map<Node, Node[]>([[loss, [constant(1, loss.type.dtype)]]]);
  const cotangents = new Map<Node, Node>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    const received = parts.get(node);
    if (!received || !active.has(node)) continue;
    parts.delete(node);
    const total = received.map((c) => sumTo(c, node)).reduce((a, b) => add(a, b));
    cotangents.set(node, total);
    operandCotangents(node, total).forEach((cotangent, k) => {
      const operand = node.operands[k]!;
      if (!cotangent || !active.has(operand)) return;
      const list = parts.get(operand);
      if (list) list.push(cotangent);
      else parts.set(operand, [cotangent]);
    });
  }
  return cotangents;
}

/** The wanted nodes and those that depend on them. */
function activeNodes(order: readonly Node[], wanted: ReadonlySet<Node>): Set<Node> {
  const active = new Set<Node>();
  for (const node of order) {
    if (wanted.has(node) || node.operands.some((o) => active.has(o))) active.add(node);
  }
  return active;
}

function operandCotangents(node: Node, cotangent: Node): readonly (Node | undefined)[] {
  const record = opRecord(node.op);
  if (record.gradient) return record.gradient(node, cotangent);
  if (record.flat || node.operands.length === 0) return [];
  if (record.decompose) return throughDecomposition(node, cotangent);
  throw new UsageError(`op "${node.op}" has no gradient, and the loss reaches a trainable parameter through it`);
}

/** The gradient of a composite's decomposition with respect to its operands. */
function throughDecomposition(node: Node, cotangent: Node): readonly (Node | undefined)[] {
  const body = opRecord(node.op).decompose!(node.operands, node.attrs, node.type);
  const operands = new Set(node.operands);
  const parts = new Map<Node, Node>([[body, cotangent]]);
  const order = topologicalWithin(body, operands);
  for (let i = order.length - 1; i >= 0; i--) {
    const inner = order[i]!;
    const total = parts.get(inner);
    if (!total || operands.has(inner)) continue;
    operandCotangents(inner, sumTo(total, inner)).forEach((c, k) => {
      const operand = inner.operands[k]!;
      if (c) parts.set(operand, parts.has(operand) ? add(sumTo(parts.get(operand)!, operand), sumTo(c, operand)) : c);
    });
  }
  return node.operands.map((o) => parts.get(o));
}

/** Topological order, operands first, without descending below `boundary`. */
function topologicalWithin(root: Node, boundary: ReadonlySet<Node>): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  const visit = (node: Node): void => {
    if (done.has(node)) return;
    done.add(node);
    if (!boundary.has(node)) node.operands.forEach(visit);
    order.push(node);
  };
  visit(root);
  return order;
}

/** Sums a cotangent over the axes that its node lacks: the adjoint of broadcasting by name. */
function sumTo(cotangent: Node, like: Node): Node {
  const extra = cotangent.type.axes.filter((a) => !hasAxis(like.type, a.name)).map((a) => a.name);
  return extra.length === 0 ? cotangent : reduceSum(cotangent, extra);
}

/** The cotangent with exactly the axes of `like`, in that order. */
function shapedLike(cotangent: Node, like: Node): Node {
  const full = broadcastLike(sumTo(cotangent, like), like);
  return transpose(
    full,
    like.type.axes.map((a) => a.name),
  );
}
