/** Convolutions and transposed convolutions, as contractions over sliding windows. */
import {
  type Axis,
  addDims,
  type Dim,
  divideDims,
  mulDims,
  type Node,
  ops,
  subDims,
} from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { freshName, known, type Tensor, tensor, type Value } from "../values.ts";
import { reshapeTo } from "./shapes.ts";
import { autoPad, kernelAxis, reach, mapRoles as roles, settled, sidesOf, spatialSizes, windowsOf } from "./windows.ts";

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
    const split = inGroups(node, channel!, { name: group, size: groups }, { name: part, size: each });
    const w = n.named(grouped(n, weight, groups, own), [group, to, part, ...kernelNames]);
    const apart = product(split, w, [each === 1 ? undefined : part, ...names]);
    y = own === 1 ? ops.rename(apart, group, result) : ops.merge(apart, [group, to], result);
  }
  const withBias = bias ? ops.add(y, n.named(bias, [result])) : y;
  return tensor(x.type, [x.shape[0]!, made, ...out], [x.axes[0], result, ...axes], withBias);
}

/** Splits channels into groups; channels of groups of one are the groups. */
const inGroups = (node: Node, channel: string, group: Axis, part: Axis): Node =>
  part.size === 1 ? ops.rename(node, channel, group.name) : ops.split(node, channel, [group, part]);

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
    const split = inGroups(node, channel!, { name: group, size: groups }, { name: part, size: each });
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
  const auto = autoPad(n);
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

export const convolutionRecords: Records = {
  Conv: { roles, build: (n) => convolve(n, { x: n.in(0), weight: n.in(1), bias: n.inputs[2] }) },
  ConvTranspose: { roles, build: transposed },
};
