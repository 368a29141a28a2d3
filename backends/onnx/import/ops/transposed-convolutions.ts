/** Transposed convolutions, as contractions over what each element of the result reads. */
import { addDims, type Dim, divideDims, mulDims, ops, subDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import { certainly } from "../sizes.ts";
import { freshName, type Tensor } from "../values.ts";
import { multiplied } from "./kernel-products.ts";
import { autoPad, kernelAxis, kernelSizes, mapRoles, reach, settled, spatialSizes, type Windows } from "./windows.ts";

/** One spatial dimension, and how the kernel slides along the result. */
interface SpreadSide {
  readonly size: Dim;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  /** What output_padding adds at the end. */
  readonly added: number;
}

export function transposedConvolution(n: NodeView): Tensor {
  const x = n.x(0, mapRoles);
  const weight = n.in(1);
  const spatial = spatialSizes(n, x);
  const sizes = kernelSizes(n, weight);
  const groups = n.int("group", 1);
  const [channels, to] = [x.shape[1]!, weight.shape[1]!];
  const from = groups >= 1 ? divideDims(channels, groups) : undefined;
  if (
    from === undefined ||
    weight.shape[0] !== channels ||
    sizes.length !== spatial.length ||
    !sizes.every((k) => typeof k === "number")
  )
    throw n.fail(`a kernel of [${weight.shape.join(", ")}] does not match [${x.shape.join(", ")}] in ${groups} groups`);
  const windows = spread(n, x, sidesOf(n, spatial, sizes));
  return multiplied(n, x, windows, { weight, isTransposed: true, sizes, groups, from, to, bias: n.inputs[2] });
}

function sidesOf(n: NodeView, sizes: readonly Dim[], kernels: readonly number[]): SpreadSide[] {
  const rank = sizes.length;
  const list = (name: string, otherwise: number) => n.ints(name) ?? Array.from({ length: rank }, () => otherwise);
  const [strides, dilations, added] = [list("strides", 1), list("dilations", 1), list("output_padding", 0)];
  if (
    [strides, dilations, added].some((l) => l.length !== rank || l.some((v) => !Number.isSafeInteger(v) || v < 0)) ||
    [...strides, ...dilations].includes(0)
  )
    throw n.fail("strides, dilations and output_padding must have one non-negative number for each side");
  return sizes.map((size, i) => {
    return { size, kernel: kernels[i]!, stride: strides[i]!, dilation: dilations[i]!, added: added[i]! };
  });
}

/** The elements of the input that each element of the result reads, by the place in the kernel. */
function spread(n: NodeView, x: Tensor, sides: readonly SpreadSide[]): Windows {
  const pads = paddingOf(n, sides);
  let { node } = x;
  const kernels: string[] = [];
  const axes: (string | undefined)[] = [];
  for (const [i, { kernel, stride, dilation }] of sides.entries()) {
    const taken = [...x.axes, ...node.type.axes.map((a) => a.name)];
    const name = x.axes[i + 2] ?? freshName(`side_${i}`, taken);
    if (x.axes[i + 2] === undefined) node = ops.broadcast(node, [{ name, size: 1 }]);
    const { low, length } = pads[i]!;
    if (!certainly(length, ">=", 1)) throw n.fail(`side ${i} of the result is ${length}`);
    const own = freshName(kernelAxis(i), taken);
    const moved = freshName(`${name}_spread`, taken);
    const place = { name: moved, size: length };
    const windows = ops.transposedWindow(node, name, place, { name: own, size: kernel }, { stride, dilation, low });
    node = ops.rename(windows, moved, name);
    if (length === 1) node = ops.dropAxis(node, name);
    if (kernel === 1) node = ops.dropAxis(node, own);
    else kernels.push(own);
    axes.push(length === 1 ? undefined : name);
  }
  return { node, kernels, axes, sizes: pads.map(({ length }) => length) };
}

/** For each spatial dimension, the elements cut at the beginning, and the output length. */
function paddingOf(n: NodeView, sides: readonly SpreadSide[]): { readonly low: number; readonly length: Dim }[] {
  const rank = sides.length;
  const pads = n.ints("pads") ?? Array.from({ length: 2 * rank }, () => 0);
  if (pads.length !== 2 * rank || pads.some((v) => !Number.isSafeInteger(v)))
    throw n.fail(`pads must have ${2 * rank} numbers, got ${pads.length}`);
  const asked = n.ints("output_shape");
  // Some files have batch and channels in it too.
  if (asked && asked.length !== rank && asked.length !== rank + 2)
    throw n.fail(`output_shape must have ${rank} numbers, got ${asked.length}`);
  const auto = autoPad(n);
  return sides.map(({ size, kernel, stride, dilation, added }, i) => {
    const whole = addDims(mulDims(subDims(size, 1), stride), added + reach(kernel, dilation));
    const wanted = asked?.slice(-rank)[i] ?? (auto.startsWith("SAME") ? mulDims(size, stride) : undefined);
    if (wanted === undefined && auto === "VALID") return { low: 0, length: whole };
    if (wanted === undefined) return { low: pads[i]!, length: subDims(whole, pads[i]! + pads[i + rank]!) };
    const extra = settled(n, subDims(whole, wanted), "the padding", size);
    // The odd element goes to the beginning, or with SAME_UPPER to the end.
    return { low: auto === "SAME_UPPER" ? Math.floor(extra / 2) : Math.ceil(extra / 2), length: wanted };
  });
}
