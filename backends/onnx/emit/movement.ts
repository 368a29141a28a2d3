/** Movement ops: most only relabel the same memory; concat, pad and most slices are ONNX nodes. */
import { type Axis, addDims, type Dim, mulDims, type ops, type TensorType } from "../../../compiler/index.ts";
import { chooseOrder } from "./elementwise.ts";
import { constant, type Emission, emit, scalar, wishOf } from "./emission.ts";
import { inserted, materialize, regroup } from "./layout.ts";
import { dimsTensor, dimTensor, scalarDim } from "./sizes.ts";
import {
  axesOf,
  dimOf,
  first,
  type Groups,
  isolate,
  orderOf,
  realAxes,
  relabel,
  sameOrder,
  separate,
  splitGroups,
  type Tensor,
  tensor,
  type Value,
  value,
} from "./value.ts";
import { placeView, sliceView } from "./views.ts";

const has = (t: Tensor, axis: string): boolean => orderOf(first(t)).includes(axis);

export const rename = (t: Tensor, axis: string, to: string): Tensor =>
  relabelAll(t, (a) => [a.name === axis ? { name: to, size: a.size } : a]);

export const split = (t: Tensor, axis: string, into: readonly Axis[]): Tensor =>
  relabelAll(t, (a) => (a.name === axis ? into : [a]));

const relabelAll = (t: Tensor, change: (a: Axis) => readonly Axis[]): Tensor => ({
  dtype: t.dtype,
  layouts: t.layouts.map((v) => relabel(v, change)),
});

/** Merges several axes into one: makes them adjacent in the given order, then one dimension. */
export function merge(e: Emission, t: Tensor, axes: readonly Axis[], into: Axis): Tensor {
  const real = realAxes(axes);
  if (!real.some((a) => has(t, a.name))) return t;
  const names = real.map((a) => a.name);
  const order = orderOf(first(t));
  const present = names.every((n) => order.includes(n));
  const layouts = t.layouts.filter((v) => present && runAt(orderOf(v), names) >= 0);
  if (layouts.length === 0) {
    const known = new Map([...axesOf(first(t)), ...real].map((a) => [a.name, a]));
    layouts.push(
      materialize(
        e,
        t,
        gathered(order, names).map((n) => known.get(n)!),
      ),
    );
  }
  return { dtype: t.dtype, layouts: layouts.map((v) => mergeIn(e, v, names, into)) };
}

/** The index of `names` as a contiguous run in `order`; -1 if they are not one. */
function runAt(order: readonly string[], names: readonly string[]): number {
  const start = order.indexOf(names[0]!);
  return sameOrder(order.slice(start, start + names.length), names) ? start : -1;
}

/** The order with `names` contiguous, at the position of the last of them. */
function gathered(order: readonly string[], names: readonly string[]): string[] {
  const last = order.findLast((n) => names.includes(n))!;
  return order.flatMap((n) => (n === last ? names : names.includes(n) ? [] : [n]));
}

function mergeIn(e: Emission, v: Value, names: readonly string[], into: Axis): Value {
  const inside = (a: Axis) => names.includes(a.name);
  const holders = v.groups.filter((g) => g.some(inside));
  const joined = holders.length === 1 ? v : regroup(e, v, joinedGroups(v, inside));
  const replace = (axes: readonly Axis[]): Axis[] =>
    axes.flatMap((a) => (a.name === names[0] ? [into] : inside(a) ? [] : [a]));
  const { view, ...rest } = joined;
  // If the run is not contiguous in the stored tensor's own order, the result is no longer a view of it.
  const keeps =
    view &&
    runAt(
      view.axes.map((a) => a.name),
      names,
    ) >= 0;
  return {
    ...rest,
    groups: joined.groups.map(replace),
    ...(keeps && { view: { ...view, axes: replace(view.axes) } }),
  };
}

/** Joins the dimensions that hold parts of the run. */
function joinedGroups(v: Value, inside: (a: Axis) => boolean): Groups {
  const groups: Axis[][] = [];
  let open = false;
  for (const g of v.groups) {
    const part = g.some(inside);
    if (part && open) groups.at(-1)!.push(...g);
    else if (g.length > 0 || !open) groups.push([...g]);
    open = part || (open && g.length === 0);
  }
  return groups;
}

/** A contiguous range of one axis. */
export function slice(e: Emission, t: Tensor, axis: Axis, start: Dim, length: Dim): Tensor {
  if (!has(t, axis.name) || (start === 0 && length === axis.size)) return t;
  const v = first(t);
  if (v.view && typeof start === "number" && typeof length === "number") {
    const range = sliceView(v.view, axis.name, start, length);
    const order = range?.axes.map((a) => a.name);
    if (range && order) return tensor(placeView(e, range, order, separate(range.axes), v.dtype));
  }
  const source = regroup(e, v, isolate(v.groups, [axis.name]));
  const at = dimOf(source, axis.name);
  const groups = source.groups.map((g, i) => (i === at ? realAxes([{ name: axis.name, size: length }]) : g));
  const name = emit(e, "Slice", [
    source.name,
    dimTensor(e, start),
    dimTensor(e, addDims(start, length)),
    constant(e, "i64", [1], [at]),
  ]);
  return tensor(value(name, t.dtype, groups));
}

/** Concatenates tensors along an axis; `types` are their types. */
export function concat(e: Emission, parts: readonly Tensor[], types: readonly TensorType[], axis: string): Tensor {
  const order = concatOrder(e, parts, axis);
  const shared = new Map(parts.flatMap((t) => axesOf(first(t)).map((a) => [a.name, a] as const)));
  const own = types.map((t) => t.axes.find((a) => a.name === axis)!);
  const arranged = parts.map((t, i) =>
    materialize(e, t, realAxes(order.map((n) => (n === axis ? own[i]! : shared.get(n)!)))),
  );
  const apart = (a: Axis, b: Axis) => arranged.some((v) => boundary(v, a.name, b.name));
  const others = order.filter((n) => n !== axis).map((n) => shared.get(n)!);
  const dims = splitGroups(others.length === 0 ? [] : [others], apart);
  const at = splitAt(dims, order, axis);
  const sources = arranged.map((v, i) => regroup(e, v, [...at.before, realAxes([own[i]!]), ...at.after]));
  const name = emit(
    e,
    "Concat",
    sources.map((v) => v.name),
    { axis: at.before.length },
  );
  const size = own.map((a) => a.size).reduce(addDims, 0);
  return tensor(value(name, parts[0]!.dtype, [...at.before, realAxes([{ name: axis, size }]), ...at.after]));
}

/** The order that moves the fewest elements; includes the axis even if every part has size 1 along it. */
function concatOrder(e: Emission, parts: readonly Tensor[], axis: string): string[] {
  const order = chooseOrder(e, parts);
  return order.includes(axis) ? order : withAxis(e, order, axis);
}

/** Inserts the new axis where the result's users want it, else where the node declares it. */
function withAxis(e: Emission, order: readonly string[], axis: string): string[] {
  const wished = wishOf(e)?.order;
  return inserted(order, axis, wished?.includes(axis) ? wished : e.at!.type.axes.map((a) => a.name));
}

/** True if the value has two adjacent axes in different dimensions. */
const boundary = (v: Value, a: string, b: string): boolean =>
  v.groups.findIndex((g) => g.some((x) => x.name === a)) !== v.groups.findIndex((g) => g.some((x) => x.name === b));

/** The dimensions before and after the axis, split where it falls inside one. */
function splitAt(dims: Groups, order: readonly string[], axis: string): { before: Groups; after: Groups } {
  const place = order.indexOf(axis);
  const cut = splitGroups(dims, (a, b) => order.indexOf(a.name) < place && order.indexOf(b.name) > place);
  const side = (compare: (i: number) => boolean) =>
    cut.filter((g) => g.length > 0 && compare(order.indexOf(g[0]!.name)));
  return { before: side((i) => i < place), after: side((i) => i > place) };
}

/** Pads one axis with a constant. */
export function pad(e: Emission, t: Tensor, axis: Axis, low: Dim, high: Dim, fill: number): Tensor {
  const known = new Map([...axesOf(first(t)), axis].map((a) => [a.name, a]));
  const order = has(t, axis.name) ? orderOf(first(t)) : withAxis(e, orderOf(first(t)), axis.name);
  const v = materialize(e, t, realAxes(order.map((n) => known.get(n)!)));
  const { before, after } = splitAt(isolate(v.groups, [axis.name]), order, axis.name);
  const source = regroup(e, v, [...before, realAxes([axis]), ...after]);
  const around = (amount: Dim): Dim[] => source.groups.map((_, i) => (i === before.length ? amount : 0));
  const name = emit(e, "Pad", [
    source.name,
    dimsTensor(e, [...around(low), ...around(high)]),
    scalar(e, t.dtype, fill),
  ]);
  const size = addDims(axis.size, addDims(low, high));
  return tensor(value(name, t.dtype, [...before, realAxes([{ name: axis.name, size }]), ...after]));
}

/** Sliding windows: a split if they do not overlap, else a Gather with the index of every element. */
export function window(
  e: Emission,
  t: Tensor,
  axis: Axis,
  out: Axis,
  kernel: Axis,
  { stride, dilation }: ops.Steps,
): Tensor {
  if (!has(t, axis.name)) return t;
  const [count, width] = [out.size, kernel.size as number];
  if (dilation === 1 && (stride === width || count === 1)) {
    return split(slice(e, t, axis, 0, mulDims(count, width)), axis.name, [out, kernel]);
  }
  const v = first(t);
  const source = regroup(e, v, isolate(v.groups, [axis.name]));
  const at = dimOf(source, axis.name);
  const name = emit(e, "Gather", [source.name, elementsOf(e, count, width, { stride, dilation })], { axis: at });
  const parts: Groups = [realAxes([out]), realAxes([kernel])];
  return tensor(
    value(
      name,
      t.dtype,
      source.groups.flatMap((g, i) => (i === at ? parts : [g])),
    ),
  );
}

/** The index of every element of every window [count, width]: a constant, or a sum where the count is symbolic. */
function elementsOf(e: Emission, count: Dim, width: number, { stride, dilation }: ops.Steps): string {
  const taps = Array.from({ length: width }, (_, k) => k * dilation);
  if (typeof count === "number") {
    const index = Array.from({ length: count }, (_, i) => taps.map((tap) => i * stride + tap)).flat();
    return constant(e, "i64", [count, width], index);
  }
  const [from, to, by] = [scalar(e, "i64", 0), scalarDim(e, mulDims(count, stride)), scalar(e, "i64", stride)];
  const starts = emit(e, "Unsqueeze", [emit(e, "Range", [from, to, by]), constant(e, "i64", [1], [1])]);
  return emit(e, "Add", [starts, constant(e, "i64", [1, width], taps)]);
}
