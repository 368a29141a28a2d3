/** Composites with an ONNX operator: softmax, norms, attention. */
import type { Axis, Node } from "../../../compiler/index.ts";
import { elementwise } from "./elementwise.ts";
import { addNodeWith, castTo, constant, type Emission, emit, integers, scalar } from "./emission.ts";
import { materialize, regroup } from "./layout.ts";
import { statisticKey } from "./statistics.ts";
import {
  axesOf,
  dimOf,
  dimsOf,
  first,
  type Groups,
  isolate,
  orderOf,
  realAxes,
  splitGroups,
  type Tensor,
  tensor,
  type Value,
  value,
} from "./value.ts";

/** exp(x - max) / sum along one axis; prefers a layout in which the axis is innermost. */
export function softmax(e: Emission, t: Tensor, axis: Axis): Tensor {
  if (axis.size === 1) return tensor(value(scalar(e, t.dtype, 1), t.dtype, []));
  const v = t.layouts.find((x) => orderOf(x).at(-1) === axis.name) ?? first(t);
  const full = orderOf(v).includes(axis.name) ? v : materialize(e, t, [...axesOf(v), axis]);
  const source = regroup(e, full, isolate(full.groups, [axis.name]));
  const at = dimOf(source, axis.name);
  const last = at === source.groups.length - 1;
  const name = emit(e, "Softmax", [source.name], { axis: last ? -1 : at });
  return tensor(value(name, t.dtype, source.groups));
}

export interface Norm {
  /** RMSNormalization or LayerNormalization. */
  readonly type: "RMSNormalization" | "LayerNormalization";
  /** The node being normalized. */
  readonly x: Node;
  /** Axes of static size, with more than one element in total. */
  readonly over: readonly Axis[];
  readonly epsilon: number;
}

/** A norm over the innermost axes; weight and bias with other axes are applied after it. */
export function normalize(
  e: Emission,
  x: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  norm: Norm,
): Tensor {
  const over = realAxes(norm.over);
  const source = rowsInnermost(e, x, over);
  const order = source.groups.at(-1)!;
  const inside = (t: Tensor | undefined) => t && orderOf(first(t)).every((n) => order.some((a) => a.name === n));
  const scale = weight && inside(weight) ? vector(e, weight, order) : ones(e, order, x);
  const useBias = bias && inside(weight) && inside(bias);
  const inputs = [source.name, scale, ...(useBias ? [vector(e, bias, order)] : [])];
  const name = normNode(e, norm, inputs, source.groups);
  let y = tensor(value(name, x.dtype, source.groups));
  if (weight && !inside(weight)) y = elementwise(e, "Mul", [y, weight], x.dtype);
  return bias && !useBias ? elementwise(e, "Add", [y, bias], x.dtype) : y;
}

/** Emits the norm; uses onnxruntime's own operator if a gradient needs its statistic. */
function normNode(e: Emission, norm: Norm, inputs: readonly string[], groups: Groups): string {
  const attributes = { axis: -1, epsilon: { float: norm.epsilon } };
  if (norm.type === "RMSNormalization" && e.options.opset < 23) return spelledOut(e, norm, inputs as [string, string]);
  const key = statisticKey({ x: norm.x, over: norm.over.map((a) => a.name), epsilon: norm.epsilon });
  const own = norm.type === "RMSNormalization" && e.options.dialect === "onnxruntime" && norm.x.type.dtype === "f32";
  if (!own || !e.statistics.has(key)) return emit(e, norm.type, inputs, attributes);
  const [y, scale] = addNodeWith(e, "SimplifiedLayerNormalization", inputs, 2, attributes) as [string, string];
  e.statistics.set(key, value(scale, "f32", [...groups.slice(0, -1), []]));
  return y;
}

/** RMS norm for opsets without the operator, in f32 and in the pattern that runtimes fuse. */
function spelledOut(e: Emission, { epsilon, x }: Norm, [name, scale]: readonly [string, string]): string {
  const dtype = x.type.dtype;
  const wide = castTo(e, name, dtype, "f32");
  const square = emit(e, "Pow", [wide, scalar(e, "f32", 2)]);
  const byInput = e.options.opset >= 18;
  const mean = emit(e, "ReduceMean", byInput ? [square, integers(e, [-1])] : [square], {
    ...(!byInput && { axes: [-1] }),
    keepdims: 1,
  });
  const root = emit(e, "Sqrt", [emit(e, "Add", [mean, scalar(e, "f32", epsilon)])]);
  return emit(e, "Mul", [castTo(e, emit(e, "Div", [wide, root]), "f32", dtype), scale]);
}

/** x with the normalized axes as its innermost dimension, from an existing layout or by a transpose. */
function rowsInnermost(e: Emission, x: Tensor, over: readonly Axis[]): Value {
  const normalized = (a: Axis) => over.some((o) => o.name === a.name);
  const ready = x.layouts.find((v) => {
    const axes = axesOf(v);
    return axes.slice(axes.length - over.length).every(normalized) && axes.filter(normalized).length === over.length;
  });
  const own = axesOf(first(x));
  const lacking = over.filter((a) => !own.some((o) => o.name === a.name));
  const v = ready ?? materialize(e, x, [...own.filter((a) => !normalized(a)), ...own.filter(normalized), ...lacking]);
  const groups = splitGroups(v.groups, (a, b) => normalized(a) !== normalized(b));
  const rows = groups.filter((g) => !g.some(normalized));
  return regroup(e, v, [...rows, groups.flat().filter(normalized)]);
}

const vector = (e: Emission, t: Tensor, axes: readonly Axis[]): string =>
  regroup(e, materialize(e, t, axes), [axes]).name;

function ones(e: Emission, axes: readonly Axis[], like: Tensor): string {
  const [count] = dimsOf([axes]) as [number];
  return constant(e, like.dtype, [count], new Float32Array(count).fill(1));
}

export interface AttentionRoles {
  readonly dot: string;
  readonly over: string;
  readonly scale: number;
}

/**
 * The Attention operator on [batch, heads, rows, width]: the axes that q, k and v share are batch and heads, q's other
 * axes are rows, v's are width.
 */
export function attentionOperator(e: Emission, q: Tensor, k: Tensor, v: Tensor, roles: AttentionRoles): Tensor {
  const [qn, kn, vn] = [q, k, v].map((t) => orderOf(first(t))) as [string[], string[], string[]];
  const shared = axesOf(first(q)).filter((a) => kn.includes(a.name) && a.name !== roles.dot);
  const rows = axesOf(first(q)).filter((a) => !kn.includes(a.name));
  const width = axesOf(first(v)).filter((a) => a.name !== roles.over && !qn.includes(a.name));
  const own = vn.includes(roles.dot) ? axesOf(first(v)).filter((a) => a.name === roles.dot) : [];
  const heads = shared.slice(-1);
  const batch = shared.slice(0, -1);
  const place = (t: Tensor, middle: readonly Axis[], last: readonly Axis[]) =>
    regroup(e, materialize(e, t, [...shared, ...middle, ...last]), [batch, heads, middle, last]).name;
  const named = (t: Tensor, name: string) => axesOf(first(t)).filter((a) => a.name === name);
  const keys = named(k, roles.over);
  const columns = [...width, ...own];
  const name = emit(
    e,
    "Attention",
    [place(q, rows, named(q, roles.dot)), place(k, keys, named(k, roles.dot)), place(v, keys, columns)],
    { scale: { float: roles.scale } },
  );
  return tensor(value(name, q.dtype, [batch, heads, rows, columns]));
}
