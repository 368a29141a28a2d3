/** Data-dependent indexing: gather, its adjoint scatter_add, and writes of a range at a dynamic start. */
import { build } from "../ir/build.ts";
import { type Dim, dimKey } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation, sourceOf } from "../ir/op.ts";
import { type Axis, elementsOf, findAxis, hasAxis, printType, type TensorType, tensorType } from "../ir/type.ts";
import { add, and, eq, ge, lt, max, min, select, sub } from "./elementwise.ts";
import { is, record, requireAxes, sizeClash, tabulate } from "./kinds.ts";
import { rename } from "./movement.ts";
import { broadcastStrides, offsetAt, strideOf } from "./reference-tools.ts";
import { iota, sizeOf } from "./sources.ts";

/**
 * The index clamped to the axis, as ops that read an index do: for gradients that compare positions with it. Bounds
 * that hold by construction are left out.
 */
export function clampedIndex(index: Node, { size }: Axis): Node {
  if (sourceOf(index) === "position" && dimKey(index.type.axes[0]!.size) === dimKey(size)) return index;
  const isCounted = index.type.dtype === "u32" || (is(max, index) && index.operands.some(isNotNegative));
  const last = typeof size === "number" ? size - 1 : sub(sizeOf(size, index.type.dtype), 1);
  return min(isCounted ? index : max(index, 0), last);
}

const isNotNegative = (node: Node): boolean =>
  sourceOf(node) === "constant" && typeof node.attrs.value === "number" && node.attrs.value >= 0;

const isIndex = (t: TensorType) => t.dtype === "i32" || t.dtype === "u32";

const freshAxis = (name: string, nodes: readonly Node[]): string =>
  nodes.some((n) => hasAxis(n.type, name)) ? freshAxis(`${name}_`, nodes) : name;

record({
  name: "gather",
  kind: "indexing",
  doc: {
    summary:
      "table[index] along one axis of the table; axes that both operands have are batch axes. Out-of-range indices are clamped.",
  },
  half: "safe",
  operands: ["table", "index"],
  roles: { table: "table", index: "index" },
  attrs: { axis: { kind: "axis" } },
  constraints: {
    C1: "the axis is an axis of the table and not of the index",
    C2: "an axis of both operands has the same size in both",
    C3: "the index is i32 or u32",
  },
  infer: ([table, index], attrs) => {
    const axis = attrs.axis as string;
    requireAxes(table!, [axis], "C1", "table");
    if (hasAxis(index!, axis))
      throw new OpViolation("C1", `the index has the axis "${axis}" that is gathered along`, "rename the index's axis");
    const clash = index!.axes.find((a) => (findAxis(table!, a.name)?.size ?? a.size) !== a.size);
    if (clash) throw new OpViolation("C2", sizeClash(clash.name, [table!, index!], ["table", "index"], 0).message);
    if (!isIndex(index!))
      throw new OpViolation("C3", `the index is ${index!.dtype}`, 'convert it with cast(index, "i32")');
    const rest = table!.axes.filter((a) => a.name !== axis && !hasAxis(index!, a.name));
    return tensorType(table!.dtype, [...index!.axes, ...rest]);
  },
  reference: ([table, index], attrs, type) => {
    const axis = attrs.axis as string;
    const size = findAxis(table!.type, axis)!.size as number;
    const [ts, is, along] = [
      broadcastStrides(table!.type, type),
      broadcastStrides(index!.type, type),
      strideOf(table!.type, axis),
    ];
    return tabulate(type, (at) => {
      const i = index!.data[offsetAt(at, is)]!;
      return table!.data[offsetAt(at, ts) + Math.min(Math.max(i, 0), size - 1) * along]!;
    });
  },
  gradient: (node, dy) => {
    const [table, index] = [node.operands[0]!, node.operands[1]!];
    const axis = findAxis(table.type, node.attrs.axis as string)!;
    const batched = index.type.axes.filter((a) => hasAxis(table.type, a.name)).map((a) => a.name);
    // One index per row of the table: no two cotangents collide, so a comparison replaces the scatter.
    if (batched.length === index.type.axes.length)
      return [select(eq(iota(axis, index.type.dtype), clampedIndex(index, axis)), dy, 0), undefined];
    return [scatterAdd(index, dy, axis, batched), undefined];
  },
  samples: [
    { low: -2, high: 2 },
    { low: 0, high: 4, integer: true },
  ],
  cases: [
    { operands: [shape("f32", { v: 5, e: 3 }), shape("i32", { b: 2, t: 4 })], attrs: { axis: "v" } },
    { operands: [shape("f32", { b: 2, t: 4, v: 5 }), shape("i32", { b: 2, t: 4 })], attrs: { axis: "v" } },
    { operands: [shape("f32", { b: 2, t: 5, e: 3 }), shape("i32", { b: 2 })], attrs: { axis: "t" } },
  ],
});

function shape(dtype: "f32" | "i32", axes: Record<string, number>): TensorType {
  return tensorType(
    dtype,
    Object.entries(axes).map(([name, size]) => ({ name, size })),
  );
}

/** Gathers rows of `table` along `axis` by `index`. */
export const gather = (table: Node, index: Node, axis: string): Node => build("gather", [table, index], { axis });

/** `length` elements along an axis, from the index `start` on: an i32 scalar that is known when the graph runs. */
export function dynamicSlice(x: Node, axis: string, start: Node, length: Dim): Node {
  const whole = freshAxis(`all_${axis}`, [x]);
  return gather(rename(x, axis, whole), add(iota({ name: axis, size: length }, "i32"), start), whole);
}

record({
  name: "scatter_add",
  kind: "indexing",
  doc: {
    summary:
      "Adds each update to the row given by its index, in the order of the index tensor: the adjoint of gather. Out-of-range indices are clamped.",
  },
  operands: ["index", "updates"],
  roles: { index: "index" },
  core: { kind: "indexing" },
  work: ([, updates]) => ({ macs: 0, others: elementsOf(updates!) }),
  attrs: { axis: { kind: "sized_axis" }, batched: { kind: "axes" } },
  constraints: {
    C1: "the updates have every axis of the index, with the same size",
    C2: "the batched axes are axes of the index",
    C3: "the index is i32 or u32, the updates are floats",
    C4: "the axis is not an axis of either operand",
  },
  infer: ([index, updates], attrs) => {
    const axis = attrs.axis as unknown as Axis;
    const batched = attrs.batched as string[];
    const missing = index!.axes.find((a) => findAxis(updates!, a.name)?.size !== a.size);
    if (missing)
      throw new OpViolation("C1", `the updates lack the index's axis "${missing.name}" of size ${missing.size}`);
    requireAxes(index!, batched, "C2", "index");
    if (!isIndex(index!) || !["f32", "f16"].includes(updates!.dtype)) {
      throw new OpViolation("C3", `the index is ${index!.dtype} and the updates are ${updates!.dtype}`);
    }
    if (hasAxis(index!, axis.name) || hasAxis(updates!, axis.name))
      throw new OpViolation("C4", `"${axis.name}" is already an axis of an operand`, "give the new axis another name");
    const rest = updates!.axes.filter((a) => !hasAxis(index!, a.name));
    return tensorType(updates!.dtype, [...index!.axes.filter((a) => batched.includes(a.name)), axis, ...rest]);
  },
  reference: ([index, updates], attrs, type) => {
    const axis = attrs.axis as unknown as Axis;
    const out = new Float64Array(type.axes.reduce((n, a) => n * (a.size as number), 1));
    const [os, is] = [broadcastStrides(type, updates!.type), broadcastStrides(index!.type, updates!.type)];
    const along = strideOf(type, axis.name);
    let at = 0;
    tabulate(updates!.type, (u) => {
      const i = index!.data[offsetAt(u, is)]!;
      const row = Math.min(Math.max(i, 0), (axis.size as number) - 1);
      out[offsetAt(u, os) + row * along]! += updates!.data[at++]!;
      return 0;
    });
    return out;
  },
  gradient: (node, dy) => [undefined, gather(dy, node.operands[0]!, (node.attrs.axis as unknown as Axis).name)],
  samples: [
    { low: 0, high: 4, integer: true },
    { low: -2, high: 2 },
  ],
  cases: [
    {
      operands: [shape("i32", { b: 2, t: 4 }), shape("f32", { b: 2, t: 4, e: 3 })],
      attrs: { axis: { name: "v", size: 5 }, batched: [] },
    },
    {
      operands: [shape("i32", { b: 2, t: 4 }), shape("f32", { b: 2, t: 4, e: 3 })],
      attrs: { axis: { name: "v", size: 5 }, batched: ["b"] },
    },
  ],
});

/** Sums rows into a new axis at the positions given by `index`: the adjoint of gather. */
export const scatterAdd = (index: Node, updates: Node, axis: Axis, batched: readonly string[] = []): Node =>
  build("scatter_add", [index, updates], { axis: { name: axis.name, size: axis.size }, batched });

record({
  name: "overwrite",
  kind: "indexing",
  doc: {
    summary:
      "x with its elements from index `start` on along an axis replaced by `range`; elements that fall outside the axis are dropped. If x is a state that nothing else reads, kernels store only the range, in place.",
  },
  half: "as_operands",
  operands: ["x", "range", "start"],
  overwrites: { kept: "x", range: "range", start: "start" },
  attrs: { axis: { kind: "axis" } },
  constraints: {
    C1: "x and the range have the axis",
    C2: "x and the range have the same dtype and the same axes, except for the size of this axis",
    C3: "the start is an i32 scalar",
  },
  infer: ([x, range, start], attrs) => {
    const axis = attrs.axis as string;
    requireAxes(x!, [axis], "C1", "x");
    requireAxes(range!, [axis], "C1", "range");
    const other = x!.axes.find((a) => a.name !== axis && findAxis(range!, a.name)?.size !== a.size);
    if (other) {
      const size = findAxis(range!, other.name)?.size ?? "absent";
      throw new OpViolation("C2", `axis "${other.name}" is ${other.size} in x and ${size} in the range`);
    }
    if (range!.axes.length !== x!.axes.length || range!.dtype !== x!.dtype)
      throw new OpViolation("C2", `x is ${printType(x!)} and the range is ${printType(range!)}`);
    if (start!.dtype !== "i32" || start!.axes.length > 0)
      throw new OpViolation(
        "C3",
        `the start is ${printType(start!)}`,
        "the start is one number without axes, of dtype i32",
      );
    return x!;
  },
  reference: ([x, range, start], attrs, type) => {
    const axis = attrs.axis as string;
    const out = Float64Array.from(x!.data);
    const [strides, along] = [broadcastStrides(type, range!.type), strideOf(type, axis)];
    const place = range!.type.axes.findIndex((a) => a.name === axis);
    const [first, size] = [start!.data[0]!, findAxis(type, axis)!.size as number];
    let at = 0;
    tabulate(range!.type, (index) => {
      const value = range!.data[at++]!;
      const to = index[place]! + first;
      if (to >= 0 && to < size) out[offsetAt(index, strides) + first * along] = value;
      return 0;
    });
    return out;
  },
  decompose: ([x, range, start], attrs) => {
    const axis = attrs.axis as string;
    const offset = sub(iota(findAxis(x!.type, axis)!, "i32"), start!);
    const own = freshAxis(`${axis}_range`, [x!, range!]);
    const moved = gather(rename(range!, axis, own), offset, own);
    const inside = and(ge(offset, 0), lt(offset, sizeOf(findAxis(range!.type, axis)!.size, "i32")));
    return select(inside, moved, x!);
  },
  samples: [
    { low: -2, high: 2 },
    { low: -2, high: 2 },
    { low: -1, high: 4, integer: true },
  ],
  cases: [
    {
      operands: [shape("f32", { b: 2, t: 5, e: 3 }), shape("f32", { b: 2, t: 2, e: 3 }), shape("i32", {})],
      attrs: { axis: "t" },
    },
    { operands: [shape("f32", { t: 3 }), shape("f32", { t: 4 }), shape("i32", {})], attrs: { axis: "t" } },
    { operands: [shape("f32", { e: 3, t: 5 }), shape("f32", { t: 1, e: 3 }), shape("i32", {})], attrs: { axis: "t" } },
  ],
});

/** x with `range` written over its elements from index `start` on along an axis. */
export const overwrite = (x: Node, range: Node, start: Node, axis: string): Node =>
  build("overwrite", [x, range, start], { axis });
