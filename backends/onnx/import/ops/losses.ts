/** Classification losses, and the gate of feed-forward blocks. */
import { type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { type Tensor, tensor, type Value } from "../values.ts";

const { cast, div, mul, neg, reduceSum, select } = ops;

/** Negative log-likelihood of the target classes, with optional class weights and ignored class. */
function likelihoodLoss(n: NodeView, logs: Tensor): Value {
  const axis = logs.axes[1];
  const rest = [logs.axes[0], ...logs.axes.slice(2)];
  const target = n.named(n.in(1), rest);
  const index = target.type.dtype === "i32" ? target : cast(target, "i32");
  const none = n.has("ignore_index") ? n.int("ignore_index") : undefined;
  const ignored = none !== undefined && Math.abs(none) < 2 ** 31 ? ops.eq(index, none) : undefined;
  const safe = ignored ? select(ignored, 0, index) : index;
  const picked = neg(axis === undefined ? logs.node : ops.gather(logs.node, safe, axis));
  const weight = n.inputs[2] ? perClass(n, axis, safe) : undefined;
  const counted = ignored
    ? select(ignored, 0, weight ?? cast(ops.broadcastLike(ops.constant(1, "i32"), ignored), logs.type.dtype))
    : weight;
  const loss = counted ? mul(picked, counted) : picked;
  const reduction = n.choice("reduction", "mean", ["mean", "sum", "none"]);
  const shape = [logs.shape[0]!, ...logs.shape.slice(2)];
  if (reduction === "none") return tensor(logs.type, shape, rest, loss);
  const over = loss.type.axes.map((a) => a.name);
  const total = (x: Node) =>
    over.length === 0
      ? x
      : reduceSum(
          x,
          x.type.axes.map((a) => a.name),
        );
  if (reduction === "sum") return tensor(logs.type, [], [], total(loss));
  const count = counted ? total(ops.broadcastLike(counted, loss)) : ops.sizeOf(productOfDims(shape), logs.type.dtype);
  return tensor(logs.type, [], [], div(total(loss), count));
}

const perClass = (n: NodeView, axis: string | undefined, index: Node): Node => {
  const name = axis ?? "class";
  const weights = n.named(n.in(2), [name]);
  return n.in(2).shape[0] === 1 ? ops.broadcastLike(weights, index) : ops.gather(weights, index, name);
};

function softmaxLoss(n: NodeView): readonly Value[] {
  const x = n.x(0, ["batch", "class", "row", "column"]);
  const axis = x.axes[1];
  const logs: Tensor = { ...x, node: axis === undefined ? mul(x.node, 0) : ops.logSoftmax(x.node, axis) };
  return [likelihoodLoss(n, logs), logs];
}

export const lossRecords: Records = {
  NegativeLogLikelihoodLoss: { build: (n) => likelihoodLoss(n, n.x(0, ["batch", "class", "row", "column"])) },
  SoftmaxCrossEntropyLoss: { build: softmaxLoss },
  SwiGLU: {
    build: (n) => {
      const alpha = n.float("alpha", 1);
      return pointwise(n, [n.in(0), n.in(1)], ([a, b]) =>
        mul(mul(a!, ops.sigmoid(alpha === 1 ? a! : mul(a!, alpha))), b!),
      );
    },
  },
};
