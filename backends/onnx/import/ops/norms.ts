/** Normalization operators: batch, instance, group, layer and others. */
import { type Dim, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import { float } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { type Tensor, tensor, type Value } from "../values.ts";
import { wide } from "../whole-floats.ts";
import { gatherAlong } from "./indexing.ts";
import { rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

const { add, cast, div, mul, reduceSum, rsqrt, sub } = ops;

const as = (x: Node, dtype: Node["type"]["dtype"]): Node => (x.type.dtype === dtype ? x : cast(x, dtype));

const count = (x: Node, over: readonly string[]): Dim =>
  productOfDims(over.map((name) => x.type.axes.find((a) => a.name === name)!.size));

export function meanOf(x: Node, over: readonly string[]): Node {
  if (over.length === 0) return x;
  const size = count(x, over);
  const total = reduceSum(x, over);
  return typeof size === "number" ? mul(total, 1 / size) : div(total, ops.sizeOf(size, x.type.dtype));
}

/** (x − mean) / standard deviation. */
function standardized(x: Node, over: readonly string[], epsilon: number): { y: Node; mean: Node; inverse: Node } {
  const mean = meanOf(x, over);
  const centred = sub(x, mean);
  const inverse = rsqrt(add(meanOf(mul(centred, centred), over), epsilon));
  return { y: mul(centred, inverse), mean, inverse };
}

/** A per-channel vector, named by the channel axis. */
const perChannel = (n: NodeView, i: number, axis: string | undefined, role?: "buffer"): Node =>
  n.named(channelVector(n, i), [axis], role);

function channelVector(n: NodeView, i: number): Value {
  const value = n.in(i);
  if (value.shape.length !== 1)
    throw n.fail(`input ${i} has ${value.shape.length} dimensions; expected one, for the channels`);
  return value;
}

/** Inference uses running statistics, so the operator is a scale and a shift. */
function batchNorm(n: NodeView): Value | readonly Value[] {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const axis = x.shape.length > 1 ? x.axes[1] : undefined;
  const epsilon = n.float("epsilon", 1e-5);
  const { dtype } = x.node.type;
  const [scale, bias] = [wide(perChannel(n, 1, axis)), wide(perChannel(n, 2, axis))];
  if (n.flag("training_mode")) return trainedNorm(n, x, scale, bias, epsilon);
  const [mean, variance] = [wide(perChannel(n, 3, axis, "buffer")), wide(perChannel(n, 4, axis, "buffer"))];
  const slope = mul(scale, rsqrt(add(variance, epsilon)));
  return { ...x, node: as(add(mul(sub(wide(x.node), mean), slope), bias), dtype) };
}

/** Training mode: uses batch statistics and updates the running ones. */
function trainedNorm(n: NodeView, x: Tensor, scale: Node, bias: Node, epsilon: number): readonly Value[] {
  const over = x.axes.filter((a, i): a is string => i !== 1 && a !== undefined);
  const mean = meanOf(wide(x.node), over);
  const centred = sub(wide(x.node), mean);
  const variance = meanOf(mul(centred, centred), over);
  const y = add(mul(mul(centred, rsqrt(add(variance, epsilon))), scale), bias);
  const momentum = n.float("momentum", 0.9);
  const moved = (i: number, now: Node) => {
    const before = wide(perChannel(n, i, x.axes[1], "buffer"));
    const node = as(add(mul(before, momentum), mul(now, 1 - momentum)), n.in(i).type.dtype);
    return tensor(n.in(i).type, n.in(i).shape, [x.axes[1]], node);
  };
  return [{ ...x, node: as(y, x.node.type.dtype) }, moved(3, mean), moved(4, variance)];
}

function instanceNorm(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const over = x.axes.filter((a, i): a is string => i > 1 && a !== undefined);
  const { y } = standardized(wide(x.node), over, n.float("epsilon", 1e-5));
  const node = add(mul(y, wide(perChannel(n, 1, x.axes[1]))), wide(perChannel(n, 2, x.axes[1])));
  return { ...x, node: as(node, x.node.type.dtype) };
}

function groupNorm(n: NodeView): Value {
  const value = n.in(0);
  const groups = n.int("num_groups");
  const [batch, channels, ...space] = value.shape;
  if (typeof channels !== "number" || channels % groups !== 0)
    throw n.fail(`${channels} channels are not divisible by ${groups} groups`);
  const apart = n.tensor(
    reshapeTo(n, n.x(0, ["batch", "channel", "row", "column"]), [batch!, groups, channels / groups, ...space]),
  );
  const over = apart.axes.filter((a, i): a is string => i > 1 && a !== undefined);
  const { y } = standardized(wide(apart.node), over, n.float("epsilon", 1e-5));
  const scaled = (i: number): Node => {
    // Up to opset 20, scale and bias are per group; later, per channel.
    const own = n.in(i);
    if (own.shape.length === 1 && own.shape[0] === groups && n.opset < 21) return wide(n.named(own, [apart.axes[1]]));
    const split = n.tensor(reshapeTo(n, n.tensor(own, ["channel"]), [groups, channels / groups]));
    return wide(n.named(split, [apart.axes[1], apart.axes[2]]));
  };
  const node = as(add(mul(y, scaled(1)), scaled(2)), apart.node.type.dtype);
  return reshapeTo(n, { ...apart, node }, value.shape);
}

/** The axes from `axis` on. */
function lastAxes(n: NodeView, x: Tensor): string[] {
  const at = n.dim(n.int("axis", -1), x.shape.length);
  return x.axes.slice(at).filter((a) => a !== undefined);
}

const aligned = (n: NodeView, value: Value, x: Tensor): Node =>
  n.named(value, value.shape.length === 0 ? [] : x.axes.slice(-value.shape.length));

/** The default of ONNX's operators, and of onnxruntime's. */
const epsilonOf = (n: NodeView): number => n.float("epsilon", n.message.domain === "com.microsoft" ? 1e-12 : 1e-5);

/** One op if weight and bias only have axes of x; expanded if statistics are requested, or nothing is normalized. */
function layerNorm(n: NodeView, hasStatistics = n.wants(1) || n.wants(2)): Value | readonly (Value | undefined)[] {
  const x = n.x(0, ["batch", "token", "embed"]);
  const over = lastAxes(n, x);
  const epsilon = epsilonOf(n);
  const [weight, bias] = [1, 2].map((i) => (n.inputs[i] ? aligned(n, n.in(i), x) : undefined));
  const whole = over.length > 0 && epsilon > 0 && fits(x, weight) && fits(x, bias);
  if (whole && !hasStatistics)
    return {
      ...x,
      node: ops.layerNorm(x.node, weight ?? one(x), bias ?? ops.constant(0, x.node.type.dtype), over, epsilon),
    };
  const { y, mean, inverse } = standardized(wide(x.node), over, epsilon);
  const scaled = weight ? mul(y, wide(weight)) : y;
  const node = as(bias ? add(scaled, wide(bias)) : scaled, x.node.type.dtype);
  return [{ ...x, node }, statistic(n, x, mean), statistic(n, x, inverse)];
}

/** A value for each row that a norm is over. */
function statistic(n: NodeView, x: Tensor, node: Node): Tensor {
  const at = n.dim(n.int("axis", -1), x.shape.length);
  const shape = x.shape.map((d, i) => (i < at ? d : 1));
  return tensor(float, shape, x.axes, node);
}

const one = (x: Tensor): Node => ops.constant(1, x.node.type.dtype);

const fits = (x: Tensor, weight: Node | undefined): boolean =>
  weight === undefined ||
  (weight.type.dtype === x.node.type.dtype && weight.type.axes.every((a) => x.axes.includes(a.name)));

/** A norm without a mean; with `hasStatistic`, 1 / the root of the mean of the squares is the second result. */
function rmsNorms(n: NodeView, hasStatistic: boolean): readonly Value[] {
  const x = n.x(0, ["batch", "token", "embed"]);
  const inverse = rsqrt(add(meanOf(mul(wide(x.node), wide(x.node)), lastAxes(n, x)), n.float("epsilon", 1e-5)));
  return [rmsNorm(n), ...(hasStatistic ? [statistic(n, x, inverse)] : [])];
}

function rmsNorm(n: NodeView): Value {
  const x = n.x(0, ["batch", "token", "embed"]);
  const over = lastAxes(n, x);
  const epsilon = n.float("epsilon", 1e-5);
  const weight = n.inputs[1] ? aligned(n, n.in(1), x) : undefined;
  if (over.length > 0 && epsilon > 0 && weight && fits(x, weight))
    return { ...x, node: ops.rmsNorm(x.node, weight, over, epsilon) };
  const square = meanOf(mul(wide(x.node), wide(x.node)), over);
  const y = as(mul(wide(x.node), rsqrt(add(square, epsilon))), x.node.type.dtype);
  return { ...x, node: weight ? mul(y, as(weight, y.type.dtype)) : y };
}

/** onnxruntime's fused residual addition and norm. */
function skipNorm(n: NodeView, hasBias: boolean): readonly (Value | undefined)[] {
  const x = n.x(0, ["batch", "token", "embed"]);
  const skip = aligned(n, n.in(1), x);
  const last = n.inputs[hasBias ? 4 : 3];
  const plain = add(x.node, skip);
  const sum = { ...x, node: last ? add(plain, aligned(n, last, x)) : plain };
  const bias = hasBias ? n.inputs[3] : undefined;
  const inner = n.with([sum, n.in(2), ...(bias ? [bias] : [])]);
  const made = hasBias ? layerNormOf(inner) : rmsNorm(inner);
  return [made, undefined, undefined, sum];
}

/**
 * EmbedLayerNormalization: the sum of the embeddings of words, positions and segments, normalized; and the number of
 * valid tokens of each row.
 */
export function embeddedNorm(n: NodeView): readonly (Value | undefined)[] {
  const [ids, segments, mask, positions] = [n.in(0), n.inputs[1], n.inputs[7], n.inputs[8]];
  const words = n.tensor(gatherAlong(n, n.in(2), ids, 0));
  const places = positions
    ? gatherAlong(n, n.in(3), positions, 0)
    : rangeOf(n, n.tensor(n.in(3), ["position", "embed"]), 0, 0, ids.shape[1]!);
  const placed = add(words.node, aligned(n, places, words));
  const node = segments ? add(placed, aligned(n, gatherAlong(n, n.in(4), segments, 0), words)) : placed;
  const sum: Tensor = { ...words, node };
  const made = layerNormOf(n.with([sum, n.in(5), n.in(6)]));
  // Without a mask, onnxruntime counts none.
  const counted = mask ? n.tensor(mask, ["batch", "token"]) : n.tensor(pointwise(n, [ids], ([id]) => mul(id!, 0)));
  const [row, token] = counted.axes;
  const lengths = token ? reduceSum(counted.node, [token]) : counted.node;
  return [made, n.wants(1) ? tensor(ids.type, [counted.shape[0]!], [row], lengths) : undefined, sum];
}

const layerNormOf = (n: NodeView): Value => {
  const made = layerNorm(n, false);
  return (Array.isArray(made) ? made[0] : made) as Value;
};

function meanVariance(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const at = n.dims(n.ints("axes") ?? [0, 2, 3], x.shape.length);
  const over = at.flatMap((i) => x.axes[i] ?? []);
  const mean = meanOf(x.node, over);
  const centred = sub(x.node, mean);
  const deviation = ops.sqrt(meanOf(mul(centred, centred), over));
  return { ...x, node: div(centred, add(deviation, 1e-9)) };
}

/** Local response normalization across channels. */
function lrn(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const size = n.int("size");
  const axis = x.axes[1];
  const square = mul(x.node, x.node);
  const [alpha, beta, bias] = [n.float("alpha", 1e-4), n.float("beta", 0.75), n.float("bias", 1)];
  const summed = () => {
    if (axis === undefined) return square;
    const low = Math.floor((size - 1) / 2);
    const padded = ops.pad(square, axis, low, size - 1 - low);
    const own = "neighbour";
    return ops.rename(
      reduceSum(ops.window(padded, axis, `${axis}_window`, { name: own, size }), [own]),
      `${axis}_window`,
      axis,
    );
  };
  return { ...x, node: div(x.node, ops.pow(add(mul(summed(), alpha / size), bias), beta)) };
}

export const normRecords: Records = {
  BatchNormalization: { roles: ["batch", "channel", "row", "column"], build: batchNorm },
  InstanceNormalization: { build: instanceNorm },
  GroupNormalization: { build: groupNorm },
  LayerNormalization: { build: (n) => layerNorm(n) },
  RMSNormalization: { build: rmsNorm },
  SimplifiedLayerNormalization: { build: (n) => rmsNorms(n, n.wants(1)) },
  "com.microsoft.SimplifiedLayerNormalization": { build: (n) => rmsNorms(n, n.wants(1)) },
  "com.microsoft.EmbedLayerNormalization": { build: embeddedNorm },
  "com.microsoft.SkipLayerNormalization": { build: (n) => skipNorm(n, true) },
  "com.microsoft.SkipSimplifiedLayerNormalization": { build: (n) => skipNorm(n, false) },
  MeanVarianceNormalization: { build: meanVariance },
  LRN: { build: lrn },
};
