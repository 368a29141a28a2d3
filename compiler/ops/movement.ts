/** Movement: the same elements under other names and shapes. On a device most of these are index arithmetic, not copies. */
import { build } from "../ir/build.ts";
import { addDims, type Dim, divideDims, productOfDims, subDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation, type RefTensor } from "../ir/op.ts";
import { type Axis, findAxis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import { add } from "./elementwise.ts";
import { record, requireAxes, tabulate } from "./kinds.ts";
import { reduceSum } from "./reductions.ts";
import { strideOf } from "./reference-tools.ts";

const abc: TensorType = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 6 },
  { name: "c", size: 2 },
]);
const plain = [{ low: -2, high: 2 }];

/** Reads x at an index given by axis name; undefined means outside, where `outside` is the value. */
function remap(
  x: RefTensor,
  type: TensorType,
  at: (index: Readonly<Record<string, number>>) => Readonly<Record<string, number>> | undefined,
  outside = 0,
): Float64Array {
  const step = x.type.axes.map((a) => [a.name, strideOf(x.type, a.name)] as const);
  return tabulate(type, (index) => {
    const from = at(Object.fromEntries(type.axes.map((a, i) => [a.name, index[i]!])));
    return from ? x.data[step.reduce((n, [name, s]) => n + from[name]! * s, 0)]! : outside;
  });
}

const replaceAxis = (axes: readonly Axis[], name: string, by: readonly Axis[]): Axis[] =>
  axes.flatMap((a) => (a.name === name ? by : [a]));

function assertNew(axes: readonly Axis[], names: readonly string[], constraint: string): void {
  const taken = names.find((n, i) => axes.some((a) => a.name === n) || names.indexOf(n) !== i);
  if (taken !== undefined) throw new OpViolation(constraint, `the name "${taken}" is already an axis`);
}

record({
  name: "rename",
  kind: "movement",
  doc: { summary: "Another name for an axis: the same axis in a second role." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" }, to: { kind: "axis" } },
  constraints: { C1: "the axis is an axis of x", C2: "x has no axis of the new name" },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    assertNew(x!.axes, [attrs.to as string], "C2");
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: attrs.to as string, size: axis!.size }]));
  },
  reference: ([x]) => x!.data,
  gradient: (node, dy) => [rename(dy, node.attrs.to as string, node.attrs.axis as string)],
  samples: plain,
  cases: [{ operands: [abc], attrs: { axis: "b", to: "d" } }],
});

/** x with axis `axis` named `to`. */
export const rename = (x: Node, axis: string, to: string): Node =>
  axis === to ? x : build("rename", [x], { axis, to });

record({
  name: "split",
  kind: "movement",
  doc: { summary: "One axis as several, the first one slowest: index = ((i0 · s1) + i1) · s2 + i2." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" }, into: { kind: "sized_axes" } },
  constraints: {
    C1: "the axis is an axis of x",
    C2: "the new names are new and distinct",
    C3: "the product of the new sizes is the old size",
  },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    const into = attrs.into as unknown as Axis[];
    assertNew(
      x!.axes.filter((a) => a.name !== axis!.name),
      into.map((a) => a.name),
      "C2",
    );
    const product = productOfDims(into.map((a) => a.size));
    if (product !== axis!.size) {
      throw new OpViolation("C3", `axis "${axis!.name}" is ${axis!.size}, but ${printAxes(into)} spans ${product}`);
    }
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, into));
  },
  reference: ([x]) => x!.data,
  gradient: (node, dy) => {
    const into = node.attrs.into as unknown as Axis[];
    return [
      merge(
        dy,
        into.map((a) => a.name),
        node.attrs.axis as string,
      ),
    ];
  },
  samples: plain,
  cases: [
    {
      operands: [abc],
      attrs: {
        axis: "b",
        into: [
          { name: "d", size: 2 },
          { name: "e", size: 3 },
        ],
      },
    },
    {
      operands: [abc],
      attrs: {
        axis: "b",
        into: [
          { name: "b", size: 6 },
          { name: "e", size: 1 },
        ],
      },
    },
  ],
});

/** Axis `axis` as several; a size may be left out (0) once and is then inferred. */
export function split(x: Node, axis: string, into: readonly Axis[]): Node {
  const known = productOfDims(into.filter((a) => a.size !== 0).map((a) => a.size));
  const size = findAxis(x.type, axis)?.size;
  const filled = into.map((a) => ({
    name: a.name,
    size: a.size !== 0 || size === undefined ? a.size : (divideDims(size, known) ?? 0),
  }));
  return build("split", [x], { axis, into: filled });
}

record({
  name: "merge",
  kind: "movement",
  doc: { summary: "Several axes as one, the first one slowest; the undoing of split." },
  operands: ["x"],
  attrs: { axes: { kind: "axes" }, into: { kind: "axis" } },
  constraints: { C1: "the axes are distinct axes of x", C2: "the new name is new" },
  infer: ([x], attrs) => {
    const names = attrs.axes as string[];
    const axes = requireAxes(x!, names, "C1", "x");
    if (new Set(names).size !== names.length || names.length === 0) {
      throw new OpViolation("C1", `[${names.join(", ")}] is not a list of distinct axes`);
    }
    const rest = x!.axes.filter((a) => !names.includes(a.name));
    assertNew(rest, [attrs.into as string], "C2");
    const merged = { name: attrs.into as string, size: productOfDims(axes.map((a) => a.size)) };
    return tensorType(
      x!.dtype,
      x!.axes.flatMap((a) => (a.name === names[0] ? [merged] : names.includes(a.name) ? [] : [a])),
    );
  },
  reference: ([x], attrs, type) => {
    const names = attrs.axes as string[];
    const sizes = names.map((n) => findAxis(x!.type, n)!.size as number);
    return remap(x!, type, (index) => {
      let rest = index[attrs.into as string]!;
      const from: Record<string, number> = { ...index };
      for (let i = names.length - 1; i >= 0; i--) {
        from[names[i]!] = rest % sizes[i]!;
        rest = Math.floor(rest / sizes[i]!);
      }
      return from;
    });
  },
  gradient: (node, dy) => {
    const names = node.attrs.axes as string[];
    const x = node.operands[0]!;
    return [
      split(
        dy,
        node.attrs.into as string,
        names.map((n) => findAxis(x.type, n)!),
      ),
    ];
  },
  samples: plain,
  cases: [
    { operands: [abc], attrs: { axes: ["a", "b"], into: "d" } },
    { operands: [abc], attrs: { axes: ["c", "a"], into: "c" } },
  ],
});

/** The axes named as one axis, in the order given. */
export const merge = (x: Node, axes: readonly string[], into: string): Node =>
  axes.length === 1 ? rename(x, axes[0]!, into) : build("merge", [x], { axes, into });

record({
  name: "slice",
  kind: "movement",
  doc: { summary: "`length` consecutive elements of one axis from `start`." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" }, start: { kind: "dim" }, length: { kind: "dim" } },
  constraints: { C1: "the axis is an axis of x", C2: "the range lies inside the axis and is not empty" },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    const [start, length] = [attrs.start as Dim, attrs.length as Dim];
    const beyond = subDims(axis!.size, addDims(start, length));
    const wrong = (d: Dim, least: number) => typeof d === "number" && d < least;
    if (wrong(start, 0) || wrong(length, 1) || wrong(beyond, 0)) {
      throw new OpViolation(
        "C2",
        `elements ${start} to ${addDims(start, length)} of axis "${axis!.name}", which is ${axis!.size}`,
      );
    }
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: axis!.name, size: length }]));
  },
  reference: ([x], attrs, type) => {
    const axis = attrs.axis as string;
    return remap(x!, type, (i) => ({ ...i, [axis]: i[axis]! + (attrs.start as number) }));
  },
  gradient: (node, dy) => {
    const axis = node.attrs.axis as string;
    const size = findAxis(node.operands[0]!.type, axis)!.size;
    const start = node.attrs.start as Dim;
    return [pad(dy, axis, start, subDims(size, addDims(start, node.attrs.length as Dim)))];
  },
  samples: plain,
  cases: [{ operands: [abc], attrs: { axis: "b", start: 2, length: 3 } }],
});

/** `length` elements of `axis` from `start`; x itself when that is all of it. */
export function slice(x: Node, axis: string, start: Dim, length: Dim): Node {
  if (start === 0 && findAxis(x.type, axis)?.size === length) return x;
  return build("slice", [x], { axis, start, length });
}

/** The one element of `axis` at `index`, without the axis. */
export const at = (x: Node, axis: string, index: Dim): Node => dropAxis(slice(x, axis, index, 1), axis);

/** x without an axis of size 1. */
export function dropAxis(x: Node, axis: string): Node {
  const neighbour = x.type.axes.find((a) => a.name !== axis);
  if (!neighbour) return reduceSum(x, [axis]); // a sum of one element
  return merge(x, [neighbour.name, axis], neighbour.name);
}

record({
  name: "pad",
  kind: "movement",
  doc: { summary: "`low` elements of `value` before one axis and `high` after it." },
  operands: ["x"],
  attrs: {
    axis: { kind: "axis" },
    low: { kind: "dim" },
    high: { kind: "dim" },
    value: { kind: "number", optional: true },
  },
  constraints: { C1: "the axis is an axis of x", C2: "low and high are not negative" },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    const [low, high] = [attrs.low as Dim, attrs.high as Dim];
    if ([low, high].some((d) => typeof d === "number" && d < 0))
      throw new OpViolation("C2", `low is ${low} and high ${high}`);
    const size = addDims(axis!.size, addDims(low, high));
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: axis!.name, size }]));
  },
  reference: ([x], attrs, type) => {
    const axis = attrs.axis as string;
    const size = findAxis(x!.type, axis)!.size as number;
    const read = (i: Readonly<Record<string, number>>) => {
      const j = i[axis]! - (attrs.low as number);
      return j < 0 || j >= size ? undefined : { ...i, [axis]: j };
    };
    return remap(x!, type, read, (attrs.value as number | undefined) ?? 0);
  },
  gradient: (node, dy) => {
    const axis = node.attrs.axis as string;
    return [slice(dy, axis, node.attrs.low as Dim, findAxis(node.operands[0]!.type, axis)!.size)];
  },
  samples: plain,
  cases: [
    { operands: [abc], attrs: { axis: "b", low: 1, high: 2 } },
    { operands: [abc], attrs: { axis: "c", low: 0, high: 3, value: 1.5 } },
  ],
});

/** Constant elements before and after one axis. */
export function pad(x: Node, axis: string, low: Dim, high: Dim, value = 0): Node {
  if (low === 0 && high === 0) return x;
  return build("pad", [x], value === 0 ? { axis, low, high } : { axis, low, high, value });
}

record({
  name: "concat",
  kind: "movement",
  doc: { summary: "Tensors one after another along an axis that all carry." },
  operands: ["x..."],
  attrs: { axis: { kind: "axis" } },
  constraints: {
    C1: "every operand has the axis",
    C2: "the other axes have the same names and sizes in all operands",
    C3: "operands share one dtype",
  },
  infer: (operands, attrs) => {
    const axis = attrs.axis as string;
    const first = operands[0];
    if (!first) throw new OpViolation("C1", "there is nothing to concatenate");
    for (const o of operands) {
      requireAxes(o, [axis], "C1", "an operand");
      const differs = first.axes.find((a) => a.name !== axis && findAxis(o, a.name)?.size !== a.size);
      if (differs || o.axes.length !== first.axes.length) {
        throw new OpViolation("C2", `${printAxes(o.axes)} does not continue ${printAxes(first.axes)} along "${axis}"`);
      }
      if (o.dtype !== first.dtype)
        throw new OpViolation("C3", `${o.dtype} beside ${first.dtype}`, "convert with cast(x, dtype)");
    }
    const size = operands.map((o) => findAxis(o, axis)!.size).reduce(addDims, 0);
    return tensorType(first.dtype, replaceAxis(first.axes, axis, [{ name: axis, size }]));
  },
  reference: (operands, attrs, type) => {
    const axis = attrs.axis as string;
    const steps = operands.map((o) => o.type.axes.map((a) => [a.name, strideOf(o.type, a.name)] as const));
    const names = type.axes.map((a) => a.name);
    const along = names.indexOf(axis);
    return tabulate(type, (index) => {
      let [k, i] = [0, index[along]!];
      for (; ; k++) {
        const size = findAxis(operands[k]!.type, axis)!.size as number;
        if (i < size) break;
        i -= size;
      }
      return operands[k]!.data[
        steps[k]!.reduce((n, [name, s]) => n + (name === axis ? i : index[names.indexOf(name)]!) * s, 0)
      ]!;
    });
  },
  gradient: (node, dy) => {
    const axis = node.attrs.axis as string;
    let start: Dim = 0;
    return node.operands.map((o) => {
      const size = findAxis(o.type, axis)!.size;
      const part = slice(dy, axis, start, size);
      start = addDims(start, size);
      return part;
    });
  },
  samples: plain,
  cases: [
    { operands: [abc, abc], attrs: { axis: "b" } },
    {
      operands: [
        abc,
        tensorType("f32", [
          { name: "a", size: 3 },
          { name: "c", size: 2 },
          { name: "b", size: 1 },
        ]),
      ],
      attrs: { axis: "b" },
    },
  ],
});

/** The tensors one after another along `axis`. */
export const concat = (parts: readonly Node[], axis: string): Node =>
  parts.length === 1 ? parts[0]! : build("concat", parts, { axis });

record({
  name: "transpose",
  kind: "movement",
  doc: {
    summary:
      "Another order of the axes. Order is layout, so this matters at the borders only: outputs, files, other runtimes.",
  },
  operands: ["x"],
  attrs: { order: { kind: "axes" } },
  constraints: { C1: "the order lists every axis of x once" },
  infer: ([x], attrs) => {
    const order = attrs.order as string[];
    const axes = requireAxes(x!, order, "C1", "x");
    if (new Set(order).size !== x!.axes.length || order.length !== x!.axes.length) {
      throw new OpViolation("C1", `[${order.join(", ")}] is not an order of ${printAxes(x!.axes)}`);
    }
    return tensorType(x!.dtype, axes);
  },
  reference: ([x], _, type) => remap(x!, type, (i) => i),
  gradient: (_, dy) => [dy],
  samples: plain,
  cases: [{ operands: [abc], attrs: { order: ["c", "a", "b"] } }],
});

/** x with its axes in the order given. */
export function transpose(x: Node, order: readonly string[]): Node {
  return order.every((n, i) => x.type.axes[i]?.name === n) && order.length === x.type.axes.length
    ? x
    : build("transpose", [x], { order });
}

record({
  name: "window",
  kind: "movement",
  doc: {
    summary:
      "Sliding windows: x[i · stride + k] at [out = i, kernel = k]. A convolution is a contraction over windows, a pooling a reduction.",
    source: "the im2col view; strides and sizes as in ONNX Conv",
  },
  operands: ["x"],
  attrs: {
    axis: { kind: "axis" },
    out: { kind: "axis" },
    kernel: { kind: "sized_axis" },
    stride: { kind: "number", optional: true },
  },
  constraints: {
    C1: "the axis is an axis of x, of known size",
    C2: "the new names are new and distinct",
    C3: "the kernel is not longer than the axis",
  },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    const kernel = attrs.kernel as unknown as Axis;
    const stride = (attrs.stride as number | undefined) ?? 1;
    if (typeof axis!.size !== "number") throw new OpViolation("C1", `axis "${axis!.name}" is symbolic: ${axis!.size}`);
    assertNew(
      x!.axes.filter((a) => a.name !== axis!.name),
      [attrs.out as string, kernel.name],
      "C2",
    );
    const size = Math.floor((axis!.size - (kernel.size as number)) / stride) + 1;
    if (size < 1)
      throw new OpViolation("C3", `a kernel of ${kernel.size} along "${axis!.name}", which is ${axis!.size}`);
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: attrs.out as string, size }, kernel]));
  },
  reference: ([x], attrs, type) => {
    const stride = (attrs.stride as number | undefined) ?? 1;
    const [out, kernel] = [attrs.out as string, (attrs.kernel as unknown as Axis).name];
    return remap(x!, type, (i) => ({ ...i, [attrs.axis as string]: i[out]! * stride + i[kernel]! }));
  },
  // Overlap-add: the cotangent of each kernel position, spread by the stride, padded to its place.
  gradient: (node, dy) => {
    const [axis, out] = [node.attrs.axis as string, node.attrs.out as string];
    const kernel = node.attrs.kernel as unknown as Axis;
    const stride = (node.attrs.stride as number | undefined) ?? 1;
    const size = findAxis(node.operands[0]!.type, axis)!.size as number;
    const parts = Array.from({ length: kernel.size as number }, (_, k) => {
      const spread = spreadBy(rename(at(dy, kernel.name, k), out, axis), axis, stride);
      const room = size - k - (findAxis(spread.type, axis)!.size as number);
      return room >= 0 ? pad(spread, axis, k, room) : pad(slice(spread, axis, 0, size - k), axis, k, 0);
    });
    return [parts.reduce((a, b) => add(a, b))];
  },
  samples: plain,
  cases: [
    { operands: [abc], attrs: { axis: "b", out: "o", kernel: { name: "k", size: 3 } } },
    { operands: [abc], attrs: { axis: "b", out: "b", kernel: { name: "k", size: 2 }, stride: 2 } },
  ],
});

/** stride - 1 zeros after each element of `axis`. */
function spreadBy(x: Node, axis: string, stride: number): Node {
  if (stride === 1) return x;
  const size = findAxis(x.type, axis)!.size;
  const apart = split(x, axis, [
    { name: axis, size },
    { name: `${axis}_gap`, size: 1 },
  ]);
  return merge(pad(apart, `${axis}_gap`, 0, stride - 1), [axis, `${axis}_gap`], axis);
}

/** Sliding windows of `kernel` elements along `axis`, `stride` apart. */
export const window = (x: Node, axis: string, out: string, kernel: Axis, stride = 1): Node =>
  build("window", [x], {
    axis,
    out,
    kernel: { name: kernel.name, size: kernel.size },
    ...(stride !== 1 && { stride }),
  });
