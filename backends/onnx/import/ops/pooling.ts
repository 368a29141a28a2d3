/** Pooling, as reductions over sliding windows. */
import { addDims, finiteRange, type Node, ops } from "../../../../compiler/index.ts";
import { int64 } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { kernelAxis, mapRoles as roles, type Side, sidesOf, spatialSizes, windowsOf } from "./windows.ts";

const kernelShape = (n: NodeView): readonly number[] => {
  const given = n.ints("kernel_shape");
  if (!given) throw n.fail("the attribute kernel_shape is missing");
  return given;
};

/** Max pooling, optionally with the indices of the maxima. */
function maxPool(n: NodeView): Value | readonly Value[] {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const sizes = spatialSizes(n, x);
  const sides = sidesOf(n, sizes, kernelShape(n));
  const [outside] = finiteRange[x.node.type.dtype];
  const { node, kernels, axes, sizes: out } = windowsOf(x, sides, outside);
  const shape = [x.shape[0]!, x.shape[1]!, ...out];
  const names = [x.axes[0], x.axes[1], ...axes];
  const top = kernels.length === 0 ? node : ops.reduceMax(node, kernels);
  const values = tensor(x.type, shape, names, top);
  if (!n.wants(1)) return values;
  const places = windowsOf({ ...x, node: placesOf(n, x, sizes.length) }, sides, -1);
  const hit = ops.eq(node, top);
  const none = 2 ** 31 - 1;
  const inside = ops.and(hit, ops.ge(places.node, 0));
  const first = ops.select(inside, places.node, none);
  return [values, tensor(int64, shape, names, kernels.length === 0 ? places.node : ops.reduceMin(first, kernels))];
}

/** The flat index of each element in the whole tensor, row-major, or column-major within the map. */
function placesOf(n: NodeView, x: Tensor, rank: number): Node {
  if (!x.shape.every((d) => typeof d === "number"))
    throw n.fail("indices of the largest elements need numeric sizes, got symbolic ones");
  const shape = x.shape as readonly number[];
  const order = n.flag("storage_order")
    ? [...shape.slice(0, 2).keys(), ...Array.from({ length: rank }, (_, i) => rank + 1 - i)]
    : shape.map((_, i) => i);
  let step = 1;
  let sum: Node = ops.constant(0, "i32");
  for (const i of [...order].reverse()) {
    if (x.axes[i] !== undefined)
      sum = ops.add(sum, ops.mul(ops.iota({ name: x.axes[i], size: shape[i]! }, "i32"), step));
    step *= shape[i]!;
  }
  return ops.broadcastLike(sum, x.node);
}

/** Average pooling, with or without counting padding. */
export function averagePool(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const sides = sidesOf(n, spatialSizes(n, x), kernelShape(n));
  const { node, kernels, axes, sizes } = windowsOf(x, sides, 0);
  let y = kernels.length === 0 ? node : ops.reduceSum(node, kernels);
  const padded = n.flag("count_include_pad");
  sides.forEach((side, i) => {
    const factor = shareOf(side, axes[i], padded, y.type.dtype);
    y = factor === 1 ? y : ops.mul(y, factor);
  });
  return tensor(x.type, [x.shape[0]!, x.shape[1]!, ...sizes], [x.axes[0], x.axes[1], ...axes], y);
}

/** 1 / the number of counted elements in each window: a number if all have the same, else along `axis`. */
function shareOf(side: Side, axis: string | undefined, padded: boolean, dtype: Node["type"]["dtype"]): Node | number {
  const { size, windows, kernel, stride, dilation, low, high, extra } = side;
  const [before, after] = padded ? [0, extra] : [low, high + extra];
  if (typeof windows === "number" && typeof size === "number") {
    const counts = Array.from({ length: windows }, (_, w) => 1 / elementsIn({ ...side, size }, w, padded));
    const [first] = counts;
    return axis === undefined || counts.every((c) => c === first)
      ? first!
      : ops.table(counts, [{ name: axis, size: counts.length }], dtype);
  }
  if (before === 0 && after === 0) return 1 / kernel;
  const name = axis!; // a single window has a size that is a number
  const ones = ops.broadcast(ops.constant(1, dtype), [{ name, size: padded ? addDims(size, low + high) : size }]);
  const [moved, taps] = [`${name}_window`, { name: freshName(kernelAxis(0), [name]), size: kernel }];
  const counted = ops.window(ops.pad(ones, name, before, after), name, moved, taps, stride, dilation);
  return ops.rename(ops.div(1, ops.max(ops.reduceSum(counted, [taps.name]), 1)), moved, name);
}

/** The number of counted elements in a window: those of the map, and if `padded`, of the explicit padding. */
function elementsIn(
  { size, kernel, stride, dilation, low, high }: Side & { readonly size: number },
  window: number,
  padded: boolean,
): number {
  const [from, to] = padded ? [-low, size + high] : [0, size];
  const first = window * stride - low;
  /** Elements of the window before a place. */
  const before = (place: number) => Math.min(kernel, Math.max(0, Math.ceil((place - first) / dilation)));
  return Math.max(1, before(to) - before(from));
}

function lpPool(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const p = n.int("p", 2);
  const sides = sidesOf(n, spatialSizes(n, x), kernelShape(n));
  const raised = { ...x, node: ops.pow(ops.abs(x.node), p) };
  const { node, kernels, axes, sizes } = windowsOf(raised, sides, 0);
  const y = ops.pow(kernels.length === 0 ? node : ops.reduceSum(node, kernels), 1 / p);
  return tensor(x.type, [x.shape[0]!, x.shape[1]!, ...sizes], [x.axes[0], x.axes[1], ...axes], y);
}

export const poolingRecords: Records = {
  MaxPool: { roles, build: maxPool },
  AveragePool: { roles, build: averagePool },
  LpPool: { roles, build: lpPool },
};
