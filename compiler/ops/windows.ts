/**
 * Sliding windows (im2col) and transposed windows, the bases of convolution and transposed convolution. Up to a sum,
 * each is the gradient of the other, so a convolution's gradients are contractions over windows too.
 */
import { build } from "../ir/build.ts";
import { addDims, boundsOf, type Dim, dimValue, floorDivide, mulDims, subDims, symbolsOf } from "../ir/dim.ts";
import type { Attrs, Node } from "../ir/node.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, findAxis, hasAxis, type TensorType, tensorType } from "../ir/type.ts";
import { type Builder, requireAxes } from "./kinds.ts";
import { at, concat, merge, pad, slice, split } from "./movement.ts";
import { assertNew, movement, replaceAxis } from "./movement-kind.ts";
import { broadcastLike, reduceSum } from "./reductions.ts";
import { constant } from "./sources.ts";

/** The stride between window positions, and the dilation between kernel taps. */
export interface Steps {
  readonly stride: number;
  readonly dilation: number;
}

export const stepsOf = ({ stride, dilation }: Attrs): Steps => ({
  stride: (stride as number | undefined) ?? 1,
  dilation: (dilation as number | undefined) ?? 1,
});

/** The kernel axis of a window node. */
export const kernelOf = (node: Node): Axis => node.attrs.kernel as unknown as Axis;

/** Steps as attributes; those equal to 1 are omitted. */
const saidSteps = (stride: number, dilation: number): Attrs => ({
  ...(stride !== 1 && { stride }),
  ...(dilation !== 1 && { dilation }),
});

/** The extent of a dilated kernel, in elements. */
const reach = (kernel: Axis, dilation: number): number => ((kernel.size as number) - 1) * dilation + 1;

const sample = (axes: Readonly<Record<string, number>>): TensorType =>
  tensorType(
    "f32",
    Object.entries(axes).map(([name, size]) => ({ name, size })),
  );
const plain = [{ low: -2, high: 2 }];

/** Checks common to both ops: the kernel has a known size, and the names are new; x may already have its axis. */
function requireWindows(x: TensorType, attrs: Attrs, made: string): { axis: Axis; kernel: Axis } {
  const [axis] = requireAxes(x, [attrs.axis as string], "C1", "x");
  const kernel = attrs.kernel as unknown as Axis;
  if (typeof kernel.size !== "number") throw new OpViolation("C1", `the kernel's size is symbolic: ${kernel.size}`);
  const own = kernel.name === axis!.name ? undefined : findAxis(x, kernel.name);
  if (own && own.size !== kernel.size)
    throw new OpViolation("C2", `axis "${kernel.name}" of x is ${own.size}, and the kernel ${kernel.size}`);
  assertNew(
    x.axes.filter((a) => a.name !== axis!.name && a !== own),
    [made, kernel.name],
    "C2",
  );
  return { axis: axis!, kernel };
}

/**
 * The number of windows: floor((size - reach) / stride) + 1, which must be a polynomial, and positive at every size.
 */
function countWindows(axis: Axis, kernel: Axis, { stride, dilation }: Steps): Dim {
  const own = reach(kernel, dilation);
  const steps = floorDivide(subDims(axis.size, own), stride);
  if (steps === undefined) {
    throw new OpViolation(
      "C3",
      `the stride along "${axis.name}" is ${stride}, and its size ${axis.size}, so how many windows there are is no polynomial`,
      `make the size a multiple of ${stride}, as in mulDims(${stride}, symbol("${symbolsOf(axis.size)[0]!.name}"))`,
    );
  }
  const count = addDims(steps, 1);
  if (boundsOf(count).min >= 1) return count;
  throw new OpViolation(
    "C4",
    `a kernel of ${own} along "${axis.name}", which is ${axis.size}`,
    ...(typeof axis.size === "number" ? [] : [leastOf(axis.size, own)]),
  );
}

/** What to declare so that a size is at least `least`. */
function leastOf(size: Dim, least: number): string {
  const [symbol, ...more] = symbolsOf(size);
  const at = (n: number): number => dimValue(size, { [symbol!.name]: n });
  if (more.length > 0) return `declare its symbols with a min, so that it is at least ${least}`;
  let min = symbol!.min;
  const most = Math.min(symbol!.max, min + least);
  while (min < most && at(min) < least) min += symbol!.multipleOf;
  return `at its smallest it is ${at(symbol!.min)}; declare symbol("${symbol!.name}", { min: ${min} })`;
}

/** The result type: `made` and the kernel's axis replace `axis`. */
const windowed = (x: TensorType, axis: Axis, made: Axis, kernel: Axis): TensorType =>
  tensorType(
    x.dtype,
    replaceAxis(
      x.axes.filter((a) => a.name === axis.name || a.name !== kernel.name),
      axis.name,
      [made, kernel],
    ),
  );

/** The part of x for kernel tap k: all of x if it lacks the kernel's axis. */
const partOf = (x: Node, axis: string, kernel: Axis, k: number): Node =>
  kernel.name !== axis && hasAxis(x.type, kernel.name) ? at(x, kernel.name, k) : x;

/** Sliding windows along `axis`, `stride` apart, each with `kernel` taps `dilation` apart. */
export const window: Builder<
  (x: Node, axis: string, out: string, kernel: Axis, stride?: number, dilation?: number) => Node
> = movement({
  name: "window",
  doc: {
    summary:
      "Sliding windows: x[i · stride + k · dilation] at [out = i, kernel = k]. A convolution is a contraction over windows, pooling a reduction. If x has the kernel axis, tap k reads slice k of x.",
    source: "the im2col view; strides and sizes as in ONNX Conv",
  },
  operands: ["x"],
  attrs: {
    axis: { kind: "axis" },
    out: { kind: "axis" },
    kernel: { kind: "sized_axis" },
    stride: { kind: "number", optional: true },
    dilation: { kind: "number", optional: true },
  },
  constraints: {
    C1: "the axis is an axis of x, and the kernel has a known size",
    C2: "the new names are distinct and unused by other axes of x, but x may have the kernel axis, with the same size",
    C3: "the number of windows is a polynomial: all terms of a symbolic size but the constant are multiples of the stride",
    C4: "the dilated kernel is not longer than the axis, whatever the values of its symbols",
  },
  infer: ([x], attrs) => {
    const { axis, kernel } = requireWindows(x!, attrs, attrs.out as string);
    const size = countWindows(axis, kernel, stepsOf(attrs));
    return windowed(x!, axis, { name: attrs.out as string, size }, kernel);
  },
  indexMap: (_, attrs) => {
    const { stride, dilation } = stepsOf(attrs);
    const [axis, out, kernel] = [attrs.axis as string, attrs.out as string, (attrs.kernel as unknown as Axis).name];
    return {
      sources: [
        { index: (a, i) => ({ [axis]: a.add(a.mul(i(out), a.dim(stride)), a.mul(i(kernel), a.dim(dilation))) }) },
      ],
    };
  },
  gradient: (node, dy) => {
    const [axis, out, kernel] = [node.attrs.axis as string, node.attrs.out as string, kernelOf(node)];
    const x = node.operands[0]!;
    const { stride, dilation } = stepsOf(node.attrs);
    const spread = transposedWindow(dy, out, findAxis(x.type, axis)!, kernel, { stride, dilation });
    return [hasAxis(x.type, kernel.name) && kernel.name !== axis ? spread : reduceSum(spread, [kernel.name])];
  },
  // Tap k of all windows is a strided slice; the taps are concatenated.
  decompose: ([x], attrs, type) => {
    const { stride, dilation } = stepsOf(attrs);
    const [axis, out, kernel] = [attrs.axis as string, attrs.out as string, attrs.kernel as unknown as Axis];
    const count = findAxis(type, out)!.size;
    const parts = Array.from({ length: kernel.size as number }, (_, k) => {
      const run = slice(partOf(x!, axis, kernel, k), axis, k * dilation, addDims(mulDims(count, stride), 1 - stride));
      return alone(everyOf(run, axis, count, stride), axis, out, kernel.name);
    });
    return concat(parts, kernel.name);
  },
  samples: plain,
  cases: [
    { operands: [sample({ a: 3, b: 6, c: 2 })], attrs: { axis: "b", out: "o", kernel: { name: "k", size: 3 } } },
    {
      operands: [sample({ a: 3, b: 6, c: 2 })],
      attrs: { axis: "b", out: "b", kernel: { name: "k", size: 2 }, stride: 2 },
    },
    {
      operands: [sample({ a: 2, b: 11 })],
      attrs: { axis: "b", out: "b", kernel: { name: "k", size: 3 }, stride: 3, dilation: 2 },
    },
    {
      operands: [sample({ k: 3, b: 9, c: 2 })],
      attrs: { axis: "b", out: "o", kernel: { name: "k", size: 3 }, stride: 2, dilation: 2 },
    },
  ],
  builder: (x, axis, out, kernel, stride = 1, dilation = 1) =>
    build("window", [x], {
      axis,
      out,
      kernel: { name: kernel.name, size: kernel.size },
      ...saidSteps(stride, dilation),
    }),
});

/** Renames the axis to `out` and adds the kernel's axis with size 1. */
const alone = (x: Node, axis: string, out: string, kernel: string): Node =>
  split(x, axis, [
    { name: out, size: findAxis(x.type, axis)!.size },
    { name: kernel, size: 1 },
  ]);

/** `count` elements of an axis, every stride-th one; the axis ends with the last of them. */
function everyOf(x: Node, axis: string, count: Dim, stride: number): Node {
  if (stride === 1) return x;
  const gap = `${axis}_gap`;
  const apart = split(pad(x, axis, 0, stride - 1), axis, [
    { name: axis, size: count },
    { name: gap, size: stride },
  ]);
  return at(apart, gap, 0);
}

export interface TransposedSteps extends Partial<Steps> {
  /** The number of leading positions to crop; if negative, the number of leading zeros to add. */
  readonly low?: number;
}

/**
 * Transposed windows: for each position of `into` and each kernel tap, the element of x whose window covers that
 * position with that tap, or 0. Summed over the kernel, this is the gradient of `window`.
 */
export const transposedWindow: Builder<
  (x: Node, axis: string, into: Axis, kernel: Axis, steps?: TransposedSteps) => Node
> = movement({
  name: "transposed_window",
  doc: {
    summary:
      "x[(i + low − k · dilation) / stride] at [into = i, kernel = k], or 0 where that index is fractional or out of range: the element of x that each kernel tap multiplies at each position, in a transposed convolution and in the gradient of window. If x has the kernel axis, tap k reads slice k of x.",
    source:
      "the adjoint of the im2col view, as a gather: no position is written twice; strides as in ONNX ConvTranspose",
  },
  operands: ["x"],
  attrs: {
    axis: { kind: "axis" },
    into: { kind: "sized_axis" },
    kernel: { kind: "sized_axis" },
    stride: { kind: "number", optional: true },
    dilation: { kind: "number", optional: true },
    low: { kind: "number", optional: true },
  },
  constraints: {
    C1: "the axis is an axis of x, and the kernel has a known size",
    C2: "the new names are distinct and unused by other axes of x, but x may have the kernel axis, with the same size",
  },
  infer: ([x], attrs) => {
    const into = attrs.into as unknown as Axis;
    const { axis, kernel } = requireWindows(x!, attrs, into.name);
    return windowed(x!, axis, into, kernel);
  },
  indexMap: ([x], attrs) => {
    const { stride, dilation } = stepsOf(attrs);
    const [axis, into] = [attrs.axis as string, attrs.into as unknown as Axis];
    const kernel = attrs.kernel as unknown as Axis;
    const low = (attrs.low as number | undefined) ?? 0;
    // Whole strides added so that the dividend is not negative.
    const more = Math.max(0, Math.ceil((reach(kernel, dilation) - 1 - low) / stride));
    const { size } = findAxis(x!, axis)!;
    return {
      sources: [
        {
          index: (a, i) => {
            const from = a.sub(a.add(i(into.name), a.dim(low + more * stride)), a.mul(i(kernel.name), a.dim(dilation)));
            return { [axis]: a.sub(a.div(from, a.dim(stride)), a.dim(more)) };
          },
          inside: (a, i) => {
            const from = a.sub(a.add(i(into.name), a.dim(low + more * stride)), a.mul(i(kernel.name), a.dim(dilation)));
            const place = a.div(from, a.dim(stride));
            const within = a.and(a.le(a.dim(more), place), a.lt(place, a.dim(addDims(size, more))));
            return a.and(within, a.le(a.mod(from, a.dim(stride)), a.dim(0)));
          },
        },
      ],
      outside: 0,
    };
  },
  gradient: (node, dy) => {
    const x = node.operands[0]!;
    const [axis, into, kernel] = [node.attrs.axis as string, node.attrs.into as unknown as Axis, kernelOf(node)];
    const { stride, dilation } = stepsOf(node.attrs);
    const low = (node.attrs.low as number | undefined) ?? 0;
    const covered = addDims(mulDims(findAxis(x.type, axis)!.size, stride), reach(kernel, dilation) - stride);
    const places = placed(dy, into.name, low, covered);
    const windows = window(places, into.name, axis, kernel, stride, dilation);
    return [hasAxis(x.type, kernel.name) && kernel.name !== axis ? windows : reduceSum(windows, [kernel.name])];
  },
  decompose: ([x], attrs) => {
    const { stride, dilation } = stepsOf(attrs);
    const [axis, into] = [attrs.axis as string, attrs.into as unknown as Axis];
    const kernel = attrs.kernel as unknown as Axis;
    const low = (attrs.low as number | undefined) ?? 0;
    const parts = Array.from({ length: kernel.size as number }, (_, k) => {
      const spread = spreadBy(partOf(x!, axis, kernel, k), axis, stride);
      return alone(placed(spread, axis, k * dilation - low, into.size), axis, into.name, kernel.name);
    });
    return concat(parts, kernel.name);
  },
  samples: plain,
  cases: [
    {
      operands: [sample({ a: 3, o: 4, c: 2 })],
      attrs: { axis: "o", into: { name: "b", size: 6 }, kernel: { name: "k", size: 3 } },
    },
    {
      operands: [sample({ o: 3, k: 3, c: 2 })],
      attrs: { axis: "o", into: { name: "o", size: 7 }, kernel: { name: "k", size: 3 }, stride: 2 },
    },
    {
      operands: [sample({ a: 2, o: 3 })],
      attrs: {
        axis: "o",
        into: { name: "b", size: 8 },
        kernel: { name: "k", size: 3 },
        stride: 3,
        dilation: 2,
        low: 2,
      },
    },
    {
      operands: [sample({ a: 2, o: 3 })],
      attrs: { axis: "o", into: { name: "b", size: 14 }, kernel: { name: "k", size: 2 }, stride: 2, low: -3 },
    },
  ],
  builder: (x, axis, into, kernel, { stride = 1, dilation = 1, low = 0 } = {}) =>
    build("transposed_window", [x], {
      axis,
      into: { name: into.name, size: into.size },
      kernel: { name: kernel.name, size: kernel.size },
      ...saidSteps(stride, dilation),
      ...(low !== 0 && { low }),
    }),
});

/** Places x at `start` in an axis of `length` elements: pads with zeros and crops what falls outside. */
function placed(x: Node, axis: string, start: number, length: Dim): Node {
  const { size } = findAxis(x.type, axis)!;
  if (typeof size !== "number" || typeof length !== "number") {
    // Padded to cover the range, then cut: either end may lie inside x at some sizes and outside at others.
    const beyond = subDims(addDims(length, -start), size);
    const high = typeof beyond === "number" ? Math.max(0, beyond) : boundsOf(beyond).min >= 0 ? beyond : length;
    return slice(pad(x, axis, Math.max(0, start), high), axis, Math.max(0, -start), length);
  }
  const [from, to] = [Math.max(0, -start), Math.min(size, length - start)];
  if (from >= to) {
    const none = slice(x, axis, 0, 1);
    return pad(broadcastLike(constant(0, x.type.dtype), none), axis, 0, length - 1);
  }
  const low = Math.max(0, start);
  return pad(slice(x, axis, from, to - from), axis, low, length - low - (to - from));
}

/** Inserts stride - 1 zeros after each element of `axis`. */
function spreadBy(x: Node, axis: string, stride: number): Node {
  if (stride === 1) return x;
  const gap = `${axis}_gap`;
  const apart = split(x, axis, [
    { name: axis, size: findAxis(x.type, axis)!.size },
    { name: gap, size: 1 },
  ]);
  return merge(pad(apart, gap, 0, stride - 1), [axis, gap], axis);
}
