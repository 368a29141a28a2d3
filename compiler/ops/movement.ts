/**
 * Movement: the same elements under other names and shapes. In kernels most of these are index arithmetic, not copies.
 */
import { flatIndex, type IndexAlgebra, type Indexing, type Source, unflatIndex } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import { addDims, type Dim, divideDims, productOfDims, subDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, findAxis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import { type Builder, requireAxes } from "./kinds.ts";
import { assertNew, movement, replaceAxis } from "./movement-kind.ts";
import { reduceSum } from "./reductions.ts";

const abc: TensorType = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 6 },
  { name: "c", size: 2 },
]);
const plain = [{ low: -2, high: 2 }];

/** x with axis `axis` renamed to `to`. */
export const rename: Builder<(x: Node, axis: string, to: string) => Node> = movement({
  name: "rename",
  doc: { summary: "x with one axis renamed, so that the same axis can have two roles." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" }, to: { kind: "axis" } },
  constraints: { C1: "the axis is an axis of x", C2: "x has no axis with the new name" },
  infer: ([x], attrs) => {
    const [axis] = requireAxes(x!, [attrs.axis as string], "C1", "x");
    assertNew(x!.axes, [attrs.to as string], "C2");
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: attrs.to as string, size: axis!.size }]));
  },
  indexMap: (_, attrs) => ({
    sources: [{ index: (_a, at) => ({ [attrs.axis as string]: at(attrs.to as string) }) }],
    inverse: (_a, at) => ({ [attrs.to as string]: at(attrs.axis as string) }),
  }),
  gradient: (node, dy) => [rename(dy, node.attrs.to as string, node.attrs.axis as string)],
  samples: plain,
  cases: [{ operands: [abc], attrs: { axis: "b", to: "d" } }],
  builder: (x, axis, to) => (axis === to ? x : build("rename", [x], { axis, to })),
});

/** Splits `axis` into several, outermost first; one size may be 0 and is then inferred. */
export const split: Builder<(x: Node, axis: string, into: readonly Axis[]) => Node> = movement({
  name: "split",
  doc: { summary: "One axis split into several, the first varying slowest: index = ((i0 · s1) + i1) · s2 + i2." },
  operands: ["x"],
  attrs: { axis: { kind: "axis" }, into: { kind: "sized_axes" } },
  constraints: {
    C1: "the axis is an axis of x",
    C2: "the new names are distinct and unused by other axes of x",
    C3: "the product of the new sizes is the size of the axis",
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
      throw new OpViolation(
        "C3",
        `axis "${axis!.name}" has ${axis!.size} elements, but ${printAxes(into)} has ${product}`,
      );
    }
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, into));
  },
  indexMap: (_, attrs) => {
    const [axis, into] = [attrs.axis as string, attrs.into as unknown as Axis[]];
    return {
      sources: [{ index: (a, at) => ({ [axis]: flatIndex(a, into, at) }) }],
      inverse: (a, at) => unflatIndex(a, into, at(axis)),
    };
  },
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
  builder: (x, axis, into) => {
    const known = productOfDims(into.filter((a) => a.size !== 0).map((a) => a.size));
    const size = findAxis(x.type, axis)?.size;
    const filled = into.map((a) => ({
      name: a.name,
      size: a.size !== 0 || size === undefined ? a.size : (divideDims(size, known) ?? 0),
    }));
    return build("split", [x], { axis, into: filled });
  },
});

/** Merges the named axes into one, in the given order, outermost first. */
export const merge: Builder<(x: Node, axes: readonly string[], into: string) => Node> = movement({
  name: "merge",
  doc: { summary: "Several axes merged into one, the first varying slowest; the inverse of split." },
  operands: ["x"],
  attrs: { axes: { kind: "axes" }, into: { kind: "axis" } },
  constraints: { C1: "the axes are distinct axes of x", C2: "the new name is unused by other axes of x" },
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
  indexMap: ([x], attrs) => {
    const axes = (attrs.axes as string[]).map((n) => findAxis(x!, n)!);
    const into = attrs.into as string;
    return {
      sources: [{ index: (a, at) => unflatIndex(a, axes, at(into)) }],
      inverse: (a, at) => ({ [into]: flatIndex(a, axes, at) }),
    };
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
  builder: (x, axes, into) => (axes.length === 1 ? rename(x, axes[0]!, into) : build("merge", [x], { axes, into })),
});

/** `length` elements of `axis` from `start`; returns x when that is the whole axis. */
export const slice: Builder<(x: Node, axis: string, start: Dim, length: Dim) => Node> = movement({
  name: "slice",
  doc: { summary: "`length` consecutive elements along one axis, from index `start`." },
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
        `the range of ${length} elements from ${start} is not inside axis "${axis!.name}" of size ${axis!.size}`,
      );
    }
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: axis!.name, size: length }]));
  },
  indexMap: (_, attrs) => {
    const [axis, start] = [attrs.axis as string, attrs.start as Dim];
    return {
      sources: [{ index: (a, at) => ({ [axis]: a.add(at(axis), a.dim(start)) }) }],
      range: { axis, start },
    };
  },
  gradient: (node, dy) => {
    const axis = node.attrs.axis as string;
    const size = findAxis(node.operands[0]!.type, axis)!.size;
    const start = node.attrs.start as Dim;
    return [pad(dy, axis, start, subDims(size, addDims(start, node.attrs.length as Dim)))];
  },
  samples: plain,
  cases: [{ operands: [abc], attrs: { axis: "b", start: 2, length: 3 } }],
  builder: (x, axis, start, length) => {
    if (start === 0 && findAxis(x.type, axis)?.size === length) return x;
    return build("slice", [x], { axis, start, length });
  },
});

/** The element of `axis` at `index`; the axis is dropped. */
export const at = (x: Node, axis: string, index: Dim): Node => dropAxis(slice(x, axis, index, 1), axis);

/** x without an axis of size 1. */
export function dropAxis(x: Node, axis: string): Node {
  const neighbour = x.type.axes.find((a) => a.name !== axis);
  if (!neighbour) return reduceSum(x, [axis]); // a sum of one element
  return merge(x, [neighbour.name, axis], neighbour.name);
}

/** Pads an axis with `low` constants before and `high` after; `value` defaults to 0. */
export const pad: Builder<(x: Node, axis: string, low: Dim, high: Dim, value?: number) => Node> = movement({
  name: "pad",
  doc: {
    summary:
      "x padded along one axis with `low` elements before and `high` after it, all equal to `value` (default 0).",
  },
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
      throw new OpViolation("C2", `low is ${low} and high is ${high}; neither may be negative`);
    const size = addDims(axis!.size, addDims(low, high));
    return tensorType(x!.dtype, replaceAxis(x!.axes, axis!.name, [{ name: axis!.name, size }]));
  },
  indexMap: ([x], attrs) => {
    const axis = attrs.axis as string;
    const inner = <E>(a: IndexAlgebra<E>, at: (axis: string) => E) => a.sub(at(axis), a.dim(attrs.low as Dim));
    return {
      sources: [
        {
          index: (a, at) => ({ [axis]: inner(a, at) }),
          inside: (a, at) => a.and(a.le(a.dim(0), inner(a, at)), a.lt(inner(a, at), a.dim(findAxis(x!, axis)!.size))),
        },
      ],
      outside: (attrs.value as number | undefined) ?? 0,
    };
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
  builder: (x, axis, low, high, value = 0) => {
    if (low === 0 && high === 0) return x;
    return build("pad", [x], value === 0 ? { axis, low, high } : { axis, low, high, value });
  },
});

/** Concatenates tensors along `axis`. */
export const concat: Builder<(parts: readonly Node[], axis: string) => Node> = movement({
  name: "concat",
  doc: { summary: "Tensors concatenated along an axis that they all have." },
  operands: ["x..."],
  attrs: { axis: { kind: "axis" } },
  constraints: {
    C1: "every operand has the axis",
    C2: "the other axes have the same names and sizes in all operands",
    C3: "operands have the same dtype",
  },
  infer: (operands, attrs) => {
    const axis = attrs.axis as string;
    const first = operands[0];
    if (!first) throw new OpViolation("C1", "there is no operand to concatenate");
    for (const o of operands) {
      requireAxes(o, [axis], "C1", "an operand");
      const differs = first.axes.find((a) => a.name !== axis && findAxis(o, a.name)?.size !== a.size);
      if (differs || o.axes.length !== first.axes.length) {
        throw new OpViolation(
          "C2",
          `the operands have axes ${printAxes(first.axes)} and ${printAxes(o.axes)}; only the size of "${axis}" may differ`,
        );
      }
      if (o.dtype !== first.dtype)
        throw new OpViolation(
          "C3",
          `the operands are ${first.dtype} and ${o.dtype}`,
          "convert one with cast(x, dtype)",
        );
    }
    const size = operands.map((o) => findAxis(o, axis)!.size).reduce(addDims, 0);
    return tensorType(first.dtype, replaceAxis(first.axes, axis, [{ name: axis, size }]));
  },
  indexMap: (operands, attrs) => {
    const axis = attrs.axis as string;
    let end: Dim = 0;
    const sources = operands.map((part, i): Source => {
      const start = end;
      const stop = addDims(start, findAxis(part, axis)!.size);
      end = stop;
      const index: Indexing = (a, at) => ({ [axis]: a.sub(at(axis), a.dim(start)) });
      // Sources are tried in order, so there is no lower bound to check, and the last takes the rest.
      return i === operands.length - 1 ? { index } : { index, inside: (a, at) => a.lt(at(axis), a.dim(stop)) };
    });
    return { sources, consecutive: axis };
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
  builder: (parts, axis) => (parts.length === 1 ? parts[0]! : build("concat", parts, { axis })),
});

/** x with its axes in the given order. */
export const transpose: Builder<(x: Node, order: readonly string[]) => Node> = movement({
  name: "transpose",
  doc: {
    summary:
      "x with its axes in another order. Axis order is only layout, so it matters only at boundaries: outputs, files, other runtimes.",
  },
  operands: ["x"],
  attrs: { order: { kind: "axes" } },
  constraints: { C1: "the order lists every axis of x exactly once" },
  infer: ([x], attrs) => {
    const order = attrs.order as string[];
    const axes = requireAxes(x!, order, "C1", "x");
    if (new Set(order).size !== x!.axes.length || order.length !== x!.axes.length) {
      throw new OpViolation(
        "C1",
        `[${order.join(", ")}] does not list every axis of ${printAxes(x!.axes)} exactly once`,
      );
    }
    return tensorType(x!.dtype, axes);
  },
  indexMap: () => ({ sources: [{ index: () => ({}) }], inverse: () => ({}) }),
  gradient: (_, dy) => [dy],
  samples: plain,
  cases: [{ operands: [abc], attrs: { order: ["c", "a", "b"] } }],
  builder: (x, order) => {
    return order.every((n, i) => x.type.axes[i]?.name === n) && order.length === x.type.axes.length
      ? x
      : build("transpose", [x], { order });
  },
});
