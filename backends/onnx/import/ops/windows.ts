/** Convolutions and pooling, as contractions and reductions over sliding windows. */
import {
  addDims,
  boundsOf,
  type Dim,
  divideDims,
  floorDivide,
  mulDims,
  type Node,
  ops,
  subDims,
  symbolsOf,
} from "../../../../compiler/index.ts";
import { int64 } from "../elements.ts";
import { shownName } from "../file-names.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { freshName, known, type Tensor, tensor, type Value } from "../values.ts";
import { reshapeTo } from "./shapes.ts";

/** One spatial dimension of a map, and how the kernel slides along it. */
interface Side {
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

const reach = (kernel: number, dilation: number): number => (kernel - 1) * dilation + 1;

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
function settled(n: NodeView, size: Dim, what: string, side: Dim): number {
  if (typeof size === "number") return size;
  throw n.fail(`${what} of a side of ${side} must be a number, got ${size}: ${n.toGive(side)}`);
}

function sidesOf(n: NodeView, sizes: readonly Dim[], kernels: readonly number[]): Side[] {
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
  const auto = n.text("auto_pad", "NOTSET");
  return sizes.map((size, i): Side => {
    const [kernel, stride, dilation] = [kernels[i]!, strides[i]!, dilations[i]!];
    const own = reach(kernel, dilation);
    const base = { size, kernel, stride, dilation, extra: 0 };
    const countOf = (room: Dim): Dim => addDims(stridesIn(n, room, stride, size), 1);
    const plain = (low: number, high: number): Side => ({
      ...base,
      low,
      high,
      windows: requireSome(n, countOf(addDims(size, low + high - own)), size),
    });
    if (auto === "VALID") return plain(0, 0);
    if (auto === "SAME_UPPER" || auto === "SAME_LOWER") {
      const windows = stridesIn(n, addDims(size, stride - 1), stride, size);
      const most = subDims(addDims(mulDims(windows, stride), own - stride), size);
      const needed = Math.max(0, settled(n, most, "the padding", size));
      const small = Math.floor(needed / 2);
      return auto === "SAME_UPPER" ? plain(small, needed - small) : plain(needed - small, small);
    }
    const [low, high] = [pads[i]!, pads[i + rank]!];
    if (!n.flag("ceil_mode")) return plain(low, high);
    let windows = countOf(addDims(size, low + high - own + stride - 1));
    // Drops a window that would begin in the end padding.
    const last = mulDims(subDims(windows, 1), stride);
    if (certainly(last, ">=", addDims(size, low))) windows = subDims(windows, 1);
    const covered = addDims(mulDims(subDims(windows, 1), stride), own);
    const extra = Math.max(0, settled(n, subDims(covered, addDims(size, low + high)), "the padding", size));
    return { ...base, low, high, extra, windows: requireSome(n, windows, size) };
  });
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

const kernelAxis = (i: number): string => `kernel_${i}`;

interface Windows {
  readonly node: Node;
  readonly kernels: readonly string[];
  /** The axis of each spatial dimension; undefined where there is a single window. */
  readonly axes: readonly (string | undefined)[];
  readonly sizes: readonly Dim[];
}

/** Sliding windows along all spatial dimensions; kernels of size 1 have no axis. */
function windowsOf(x: Tensor, sides: readonly Side[], outside: number): Windows {
  let node = x.node;
  const kernels: string[] = [];
  const axes: (string | undefined)[] = [];
  const sizes: Dim[] = [];
  for (const [i, side] of sides.entries()) {
    const { kernel, stride, dilation, low, high, extra, windows: out } = side;
    const name = x.axes[i + 2] ?? freshName(`side_${i}`, x.axes);
    const after = high + extra;
    if (x.axes[i + 2] === undefined) node = ops.broadcast(node, [{ name, size: 1 }]);
    const padded = ops.pad(node, name, low, after, outside);
    if (kernel === 1 && stride === 1) node = padded;
    else {
      const own = freshName(kernelAxis(i), x.axes);
      const moved = `${name}_window`;
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

/** The operands of a convolution. */
export interface ConvolutionParts {
  readonly x: Value;
  readonly weight: Value;
  readonly bias?: Value | undefined;
}

export function convolve(n: NodeView, { x: given, weight, bias }: ConvolutionParts): Tensor {
  const x = n.tensor(given, ["batch", "channel", "row", "column"]);
  const sizes = spatialSizes(n, x);
  const kernels = weight.shape.slice(2);
  if (kernels.some((k) => typeof k !== "number") || weight.shape.length !== x.shape.length)
    throw n.fail(`a kernel of [${weight.shape.join(", ")}] does not match [${x.shape.join(", ")}]`);
  const groups = n.int("group", 1);
  const [made, inner] = [weight.shape[0]!, weight.shape[1]!];
  const channels = x.shape[1]!;
  if (!(groups >= 1)) throw n.fail(`${groups} groups`);
  const each = divideDims(channels, groups);
  const own = divideDims(made, groups);
  if (each === undefined || each !== inner || own === undefined)
    throw n.fail(`${channels} channels in ${groups} groups do not match kernels of ${inner}`);
  const sides = sidesOf(n, sizes, kernels as number[]);
  const { node, kernels: names, axes, sizes: out } = windowsOf(x, sides, 0);
  const channel = x.axes[1];
  const kernelNames = kernels.map((k, i) =>
    k === 1 ? undefined : names[kernels.slice(0, i).filter((s) => s !== 1).length],
  );
  const result = freshName(channel ?? "channel", [...x.axes, ...names]);
  const product = (a: Node, b: Node, over: readonly (string | undefined)[]) => {
    const summed = over.filter((s) => s !== undefined);
    return summed.length === 0 ? ops.mul(a, b) : ops.contract(a, b, summed);
  };
  let y: Node;
  if (groups === 1) {
    y = product(node, n.named(weight, [result, channel, ...kernelNames]), [channel, ...names]);
  } else {
    // Channels are grouped as [group, channel in group], for the result too.
    const group = freshName("group", [...x.axes, ...names]);
    const part = freshName("of_group", [...x.axes, ...names, group]);
    const to = freshName("to", [...x.axes, ...names, group, part]);
    const split =
      each === 1
        ? ops.rename(node, channel!, group)
        : ops.split(node, channel!, [
            { name: group, size: groups },
            { name: part, size: each },
          ]);
    const w = n.named(grouped(n, weight, groups, own), [group, to, part, ...kernelNames]);
    const apart = product(split, w, [each === 1 ? undefined : part, ...names]);
    y = own === 1 ? ops.rename(apart, group, result) : ops.merge(apart, [group, to], result);
  }
  const withBias = bias ? ops.add(y, n.named(bias, [result])) : y;
  return tensor(x.type, [x.shape[0]!, made, ...out], [x.axes[0], result, ...axes], withBias);
}

/** Reshapes a kernel [out, in, ...] to [group, out in group, in, ...]; a stored value stays stored. */
function grouped(n: NodeView, weight: Value, groups: number, own: Dim): Value {
  const shape = [groups, own, ...weight.shape.slice(1)];
  if (weight.kind === "stored")
    return { ...weight, shape, ...(weight.known && { known: known(weight.type, shape, weight.known.values) }) };
  return reshapeTo(n, n.tensor(weight, ["out", "in", "kernel_row", "kernel_column"]), shape);
}

/** Transposed convolution. */
function transposed(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const weight = n.in(1);
  const sizes = spatialSizes(n, x);
  const kernels = weight.shape.slice(2) as number[];
  const rank = sizes.length;
  const groups = n.int("group", 1);
  const own = weight.shape[1]! as number;
  const channels = x.shape[1]!;
  const each = groups >= 1 ? divideDims(channels, groups) : undefined;
  if (
    each === undefined ||
    weight.shape[0] !== channels ||
    kernels.length !== rank ||
    kernels.some((k) => typeof k !== "number")
  )
    throw n.fail(`a kernel of [${weight.shape.join(", ")}] does not match [${x.shape.join(", ")}] in ${groups} groups`);
  const list = (name: string, otherwise: number) => n.ints(name) ?? Array.from({ length: rank }, () => otherwise);
  const [strides, dilations, added] = [list("strides", 1), list("dilations", 1), list("output_padding", 0)];
  if (
    [strides, dilations, added].some((l) => l.length !== rank || l.some((v) => !Number.isSafeInteger(v) || v < 0)) ||
    [...strides, ...dilations].includes(0)
  )
    throw n.fail("strides, dilations and output_padding must have one non-negative number for each side");
  const pads = paddingOf(n, { sizes, kernels, strides, dilations, added });
  let node = x.node;
  const names: string[] = [];
  const axes: (string | undefined)[] = [];
  const out = sizes.map((_, i) => {
    const name = x.axes[i + 2] ?? freshName(`side_${i}`, x.axes);
    if (x.axes[i + 2] === undefined) node = ops.broadcast(node, [{ name, size: 1 }]);
    const { low, length } = pads[i]!;
    if (!certainly(length, ">=", 1)) throw n.fail(`side ${i} of the result is ${length}`);
    const kernel = freshName(kernelAxis(i), x.axes);
    const moved = `${name}_spread`;
    const steps = { stride: strides[i]!, dilation: dilations[i]!, low };
    node = ops.rename(
      ops.transposedWindow(node, name, { name: moved, size: length }, { name: kernel, size: kernels[i]! }, steps),
      moved,
      name,
    );
    if (length === 1) node = ops.dropAxis(node, name);
    if (kernels[i] === 1) node = ops.dropAxis(node, kernel);
    else names.push(kernel);
    axes.push(length === 1 ? undefined : name);
    return length;
  });
  const kernelNames = kernels.map((k, i) =>
    k === 1 ? undefined : names[kernels.slice(0, i).filter((s) => s !== 1).length],
  );
  const channel = x.axes[1];
  const result = freshName(channel ?? "channel", [...x.axes, ...names]);
  const product = (a: Node, b: Node, over: readonly (string | undefined)[]) => {
    const summed = over.filter((s) => s !== undefined);
    return summed.length === 0 ? ops.mul(a, b) : ops.contract(a, b, summed);
  };
  let y: Node;
  if (groups === 1) y = product(node, n.named(weight, [channel, result, ...kernelNames]), [channel, ...names]);
  else {
    const [group, part, to] = ["group", "of_group", "to"];
    const split =
      each === 1
        ? ops.rename(node, channel!, group)
        : ops.split(node, channel!, [
            { name: group, size: groups },
            { name: part, size: each },
          ]);
    const w = n.named(grouped(n, weight, groups, each), [group, part, to, ...kernelNames]);
    const apart = product(split, w, [each === 1 ? undefined : part, ...names]);
    y = own === 1 ? ops.rename(apart, group, result) : ops.merge(apart, [group, to], result);
  }
  const bias = n.inputs[2];
  return tensor(
    x.type,
    [x.shape[0]!, own * groups, ...out],
    [x.axes[0], result, ...axes],
    bias ? ops.add(y, n.named(bias, [result])) : y,
  );
}

interface Spread {
  readonly sizes: readonly Dim[];
  readonly kernels: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly added: readonly number[];
}

/** For each spatial dimension, the elements cut at the beginning, and the output length. */
function paddingOf(n: NodeView, { sizes, kernels, strides, dilations, added }: Spread) {
  const rank = sizes.length;
  const pads = n.ints("pads") ?? Array.from({ length: 2 * rank }, () => 0);
  if (pads.length !== 2 * rank || pads.some((v) => !Number.isSafeInteger(v)))
    throw n.fail(`pads must have ${2 * rank} numbers, got ${pads.length}`);
  const asked = n.ints("output_shape")?.slice(-rank);
  const auto = n.text("auto_pad", "NOTSET");
  return sizes.map((size, i) => {
    const apart = mulDims(subDims(size, 1), strides[i]!);
    const whole = addDims(apart, added[i]! + reach(kernels[i]!, dilations[i]!));
    const wanted = asked?.[i] ?? (auto.startsWith("SAME") ? mulDims(size, strides[i]!) : undefined);
    if (wanted === undefined)
      return {
        low: auto === "VALID" ? 0 : pads[i]!,
        length: auto === "VALID" ? whole : subDims(whole, pads[i]! + pads[i + rank]!),
      };
    const extra = settled(n, subDims(whole, wanted), "the padding", size);
    // The odd element goes to the beginning, or with SAME_UPPER to the end.
    return { low: auto === "SAME_UPPER" ? Math.floor(extra / 2) : Math.ceil(extra / 2), length: wanted };
  });
}

const kernelShape = (n: NodeView): readonly number[] => {
  const given = n.ints("kernel_shape");
  if (!given) throw n.fail("the attribute kernel_shape is missing");
  return given;
};

const lowest: Readonly<Record<string, number>> = { f32: -3.4028234663852886e38, f16: -65504, i32: -(2 ** 31), u32: 0 };

/** Max pooling, optionally with the indices of the maxima. */
function maxPool(n: NodeView): Value | readonly Value[] {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const sizes = spatialSizes(n, x);
  const sides = sidesOf(n, sizes, kernelShape(n));
  const outside = lowest[x.node.type.dtype]!;
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
function averagePool(n: NodeView): Value {
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
  const [moved, taps] = [`${name}_window`, { name: kernelAxis(0), size: kernel }];
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
  let count = 0;
  for (let k = 0; k < kernel; k++) {
    const at = window * stride + k * dilation - low;
    if (at >= from && at < to) count += 1;
  }
  return Math.max(1, count);
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

const roles = ["batch", "channel", "row", "column"];

export const windowRecords: Records = {
  Conv: { roles, build: (n) => convolve(n, { x: n.in(0), weight: n.in(1), bias: n.inputs[2] }) },
  ConvTranspose: { roles, build: transposed },
  MaxPool: { roles, build: maxPool },
  AveragePool: { roles, build: averagePool },
  LpPool: { roles, build: lpPool },
};
