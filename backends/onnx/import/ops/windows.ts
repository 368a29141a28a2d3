/** Sliding windows over the spatial dimensions of a map: of what sizes, how many, and with which padding. */
import {
  addDims,
  boundsOf,
  type Dim,
  floorDivide,
  mulDims,
  type Node,
  ops,
  subDims,
  symbolsOf,
} from "../../../../compiler/index.ts";
import { shownName } from "../file-names.ts";
import type { NodeView } from "../node-view.ts";
import { certainly } from "../sizes.ts";
import { freshName, type Tensor, type Value } from "../values.ts";

/** Names of the dimensions of a map. */
export const mapRoles = ["batch", "channel", "row", "column"];

/** One spatial dimension of a map, and how the kernel slides along it. */
export interface Side {
  readonly size: Dim;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly low: number;
  readonly high: number;
  /** Elements that ceil_mode adds after the padding; no window begins in them. */
  readonly extra: number;
  /** The number of windows. */
  readonly windows: Dim;
}

/** The elements that a kernel spans. */
export const reach = (kernel: number, dilation: number): number => (kernel - 1) * dilation + 1;

/** Limits on the spatial sizes of a map and of a kernel. */
const [mostSide, mostKernel] = [2 ** 20, 2 ** 12];

/** The spatial sizes of a map. */
export function spatialSizes(n: NodeView, x: Value): Dim[] {
  const sizes = x.shape.slice(2);
  if (sizes.length === 0) throw n.fail(`expected a batch, channels and a map, got ${x.shape.length} dimensions`);
  return sizes;
}

/** The spatial sizes of a map where an operator has a table with an element for each. */
export function fixedSpatialSizes(n: NodeView, x: Value): number[] {
  const sizes = spatialSizes(n, x);
  const open = sizes.find((d) => typeof d !== "number");
  if (open !== undefined) throw n.fail(`a side of the map must be a number, got ${open}: ${n.toGive(open)}`);
  return sizes as number[];
}

/** floor(room / stride). Throws if that is no polynomial of the open sizes. */
function stridesIn(n: NodeView, room: Dim, stride: number, side: Dim): Dim {
  const count = floorDivide(room, stride);
  if (count !== undefined) return count;
  throw n.fail(
    `a side of the map is ${side}, which the stride ${stride} may not divide: ${n.toGive(side)}; or leave it open as a multiple that all strides divide, as in ${shownName(symbolsOf(side)[0]!.name)}=32*n`,
  );
}

/** A size that must be a number although its parts may be open. */
export function settled(n: NodeView, size: Dim, what: string, side: Dim): number {
  if (typeof size === "number") return size;
  throw n.fail(`${what} of a side of ${side} must be a number, got ${size}: ${n.toGive(side)}`);
}

export const autoPad = (n: NodeView) => n.choice("auto_pad", "NOTSET", ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]);

/** The spatial sizes of a convolution's weight, which kernel_shape, if given, repeats. */
export function kernelSizes(n: NodeView, weight: Value): Dim[] {
  const sizes = weight.shape.slice(2);
  const given = n.ints("kernel_shape");
  if (given && given.join() !== sizes.join())
    throw n.fail(`kernel_shape is [${given.join(", ")}], but the weight is [${weight.shape.join(", ")}]`);
  return sizes;
}

/** The spatial dimensions of a map, with the attributes of the node. */
export function sidesOf(n: NodeView, sizes: readonly Dim[], kernels: readonly number[]): Side[] {
  const { strides, dilations, pads } = windowAttributes(n, sizes, kernels);
  const auto = autoPad(n);
  return sizes.map((size, i) => {
    const side: WindowedSide = { size, kernel: kernels[i]!, stride: strides[i]!, dilation: dilations[i]! };
    if (auto === "VALID") return padded(n, side, 0, 0);
    if (auto !== "NOTSET") return paddedToStrides(n, side, auto);
    const [low, high] = [pads[i]!, pads[i + sizes.length]!];
    return n.flag("ceil_mode") ? roundedUp(n, side, low, high) : padded(n, side, low, high);
  });
}

/** Strides, dilations and padding of every side, which fit the map. */
function windowAttributes(n: NodeView, sizes: readonly Dim[], kernels: readonly number[]) {
  const rank = sizes.length;
  const list = (name: string, otherwise: number, length = rank) => {
    const given = n.ints(name) ?? Array.from({ length }, () => otherwise);
    if (given.length !== length || given.some((v) => !Number.isSafeInteger(v)))
      throw n.fail(`${name} must have ${length} numbers, got ${given.length}`);
    return given;
  };
  const [strides, dilations, pads] = [list("strides", 1), list("dilations", 1), list("pads", 0, 2 * rank)];
  if (
    kernels.length !== rank ||
    [...kernels, ...strides, ...dilations].some((v) => !(v >= 1)) ||
    pads.some((v) => v < 0)
  )
    throw n.fail(
      `unsupported kernel of [${kernels.join(", ")}] with strides [${strides.join(", ")}] and padding [${pads.join(", ")}]`,
    );
  if (
    kernels.some((k) => k > mostKernel) ||
    sizes.some((s, i) => !(pads[i]! + pads[i + rank]! + (typeof s === "number" ? s : 0) <= mostSide))
  )
    throw n.fail(
      `a map of [${sizes.join(", ")}] is too small for a kernel of [${kernels.join(", ")}] with padding [${pads.join(", ")}]`,
    );
  return { strides, dilations, pads };
}

/** A side before its padding is known. */
type WindowedSide = Pick<Side, "size" | "kernel" | "stride" | "dilation">;

/** The windows that lie within a room. */
const windowsIn = (n: NodeView, room: Dim, { size, kernel, stride, dilation }: WindowedSide): Dim =>
  addDims(stridesIn(n, subDims(room, reach(kernel, dilation)), stride, size), 1);

/** A side with this padding, where the last elements may be in no window. */
function padded(n: NodeView, side: WindowedSide, low: number, high: number): Side {
  const windows = windowsIn(n, addDims(side.size, low + high), side);
  return { ...side, extra: 0, low, high, windows: requireSome(n, windows, side.size) };
}

/** A side with the least padding that gives a window for every stride. */
function paddedToStrides(n: NodeView, side: WindowedSide, auto: "SAME_UPPER" | "SAME_LOWER"): Side {
  const { size, kernel, stride, dilation } = side;
  const windows = stridesIn(n, addDims(size, stride - 1), stride, size);
  const most = subDims(addDims(mulDims(windows, stride), reach(kernel, dilation) - stride), size);
  const needed = Math.max(0, settled(n, most, "the padding", size));
  const small = Math.floor(needed / 2);
  return auto === "SAME_UPPER" ? padded(n, side, small, needed - small) : padded(n, side, needed - small, small);
}

/** A side whose last window may reach past its end, but does not begin in the end padding. */
function roundedUp(n: NodeView, side: WindowedSide, low: number, high: number): Side {
  const { size, kernel, stride, dilation } = side;
  let windows = windowsIn(n, addDims(size, low + high + stride - 1), side);
  const last = mulDims(subDims(windows, 1), stride);
  if (certainly(last, ">=", addDims(size, low))) windows = subDims(windows, 1);
  const covered = addDims(mulDims(subDims(windows, 1), stride), reach(kernel, dilation));
  const extra = Math.max(0, settled(n, subDims(covered, addDims(size, low + high)), "the padding", size));
  return { ...side, low, high, extra, windows: requireSome(n, windows, size) };
}

/** The number of windows, which must be positive whatever the open sizes. */
function requireSome(n: NodeView, windows: Dim, side: Dim): Dim {
  if (typeof windows === "number" || boundsOf(windows).min >= 1) return windows;
  const most = boundsOf(windows).max;
  if (most < 1) throw n.fail(`a side of the map is ${side}: no window fits`);
  throw n.fail(
    `a side of the map is ${side}, and the number of windows, ${windows}, may be below 1: ${n.toGive(side)}; or leave it open but larger, as in ${shownName(symbolsOf(side)[0]!.name)}=n+${1 - boundsOf(windows).min}`,
  );
}

export const kernelAxis = (i: number): string => `kernel_${i}`;

/** Windows of a map [batch, channel, ...sides]. */
export interface Windows {
  readonly node: Node;
  /** The axes of the kernel, without sides of size 1. */
  readonly kernels: readonly string[];
  /** The axis of each spatial dimension; undefined where there is a single window. */
  readonly axes: readonly (string | undefined)[];
  readonly sizes: readonly Dim[];
}

/** Sliding windows along all spatial dimensions; kernels of size 1 have no axis. */
export function windowsOf(x: Tensor, sides: readonly Side[], outside: number): Windows {
  let node = x.node;
  const kernels: string[] = [];
  const axes: (string | undefined)[] = [];
  const sizes: Dim[] = [];
  for (const [i, side] of sides.entries()) {
    const { kernel, stride, dilation, low, high, extra, windows: out } = side;
    const taken = [...x.axes, ...node.type.axes.map((a) => a.name)];
    const name = x.axes[i + 2] ?? freshName(`side_${i}`, taken);
    const after = high + extra;
    if (x.axes[i + 2] === undefined) node = ops.broadcast(node, [{ name, size: 1 }]);
    const padded = ops.pad(node, name, low, after, outside);
    if (kernel === 1 && stride === 1) node = padded;
    else {
      const own = freshName(kernelAxis(i), taken);
      const moved = freshName(`${name}_window`, taken);
      node = ops.rename(ops.window(padded, name, moved, { name: own, size: kernel }, stride, dilation), moved, name);
      if (kernel === 1) node = ops.dropAxis(node, own);
      else kernels.push(own);
    }
    if (out === 1) node = ops.dropAxis(node, name);
    axes.push(out === 1 ? undefined : name);
    sizes.push(out);
  }
  return { node, kernels, axes, sizes };
}
