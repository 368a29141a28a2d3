/** Products of windows with the kernels of a convolution, or of a transposed one, in groups of channels. */
import { type Axis, type Dim, mulDims, type Node, ops } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import { freshName, known, type Tensor, tensor, type Value } from "../values.ts";
import { reshapeTo } from "./shapes.ts";
import type { Windows } from "./windows.ts";

export interface Kernels {
  /** [out, in of a group, ...sizes], or, of a transposed convolution, [in, out of a group, ...sizes]. */
  readonly weight: Value;
  readonly isTransposed: boolean;
  readonly sizes: readonly number[];
  readonly groups: number;
  /** Channels of a group. */
  readonly from: Dim;
  readonly to: Dim;
  /** [out] */
  readonly bias: Value | undefined;
}

/**
 * The sum over channels and the kernel: [batch, channel, ...sides] of `x`, with these windows, -> [batch, out,
 * ...sides]
 */
export function multiplied(n: NodeView, x: Tensor, windows: Windows, kernels: Kernels): Tensor {
  const [batch, channel] = x.axes;
  const result = freshName(channel ?? "channel", namesOf(windows.node));
  const product =
    kernels.groups === 1
      ? ofOneGroup(n, windows, kernels, [channel, result])
      : ofGroups(n, windows, kernels, [channel!, result]);
  const node = kernels.bias ? ops.add(product, n.named(kernels.bias, [result])) : product;
  const shape = [x.shape[0]!, mulDims(kernels.groups, kernels.to), ...windows.sizes];
  return tensor(x.type, shape, [batch, result, ...windows.axes], node);
}

type Channels<From> = readonly [from: From, to: string];

function ofOneGroup(n: NodeView, windows: Windows, kernels: Kernels, [from, to]: Channels<string | undefined>): Node {
  const channels = kernels.isTransposed ? [from, to] : [to, from];
  const weight = n.named(kernels.weight, [...channels, ...kernelNames(windows, kernels)]);
  return contracted(windows.node, weight, [from, ...windows.kernels]);
}

/** Channels are grouped as [group, channel of a group], those of the result too. */
function ofGroups(n: NodeView, windows: Windows, kernels: Kernels, [from, to]: Channels<string>): Node {
  const { groups, isTransposed } = kernels;
  const taken = [...namesOf(windows.node), to];
  const fresh = (name: string) => {
    taken.push(freshName(name, taken));
    return taken.at(-1)!;
  };
  const [group, part, made] = [fresh("group"), fresh("of_group"), fresh("to")];
  const split = inGroups(windows.node, from, { name: group, size: groups }, { name: part, size: kernels.from });
  const names = [group, ...(isTransposed ? [part, made] : [made, part]), ...kernelNames(windows, kernels)];
  const weight = n.named(grouped(n, kernels), names);
  const apart = contracted(split, weight, [kernels.from === 1 ? undefined : part, ...windows.kernels]);
  return kernels.to === 1 ? ops.rename(apart, group, to) : ops.merge(apart, [group, made], to);
}

function contracted(a: Node, b: Node, over: readonly (string | undefined)[]): Node {
  const summed = over.filter((name) => name !== undefined);
  return summed.length === 0 ? ops.mul(a, b) : ops.contract(a, b, summed);
}

const namesOf = (node: Node): string[] => node.type.axes.map((a) => a.name);

/** The axis of each side of the kernel; those of size 1 have none. */
function kernelNames({ kernels }: Windows, { sizes }: Kernels): (string | undefined)[] {
  const left = [...kernels];
  return sizes.map((size) => (size === 1 ? undefined : left.shift()));
}

/** Splits channels into groups; channels of groups of one are the groups. */
const inGroups = (node: Node, channel: string, group: Axis, part: Axis): Node =>
  part.size === 1 ? ops.rename(node, channel, group.name) : ops.split(node, channel, [group, part]);

/** Splits the first dimension of the weight into [group, of a group]; a stored value stays stored. */
function grouped(n: NodeView, { weight, groups, isTransposed, from, to }: Kernels): Value {
  const shape = [groups, isTransposed ? from : to, ...weight.shape.slice(1)];
  if (weight.kind === "stored")
    return { ...weight, shape, ...(weight.known && { known: known(weight.type, shape, weight.known.values) }) };
  return reshapeTo(n, n.tensor(weight, ["out", "in", "kernel_row", "kernel_column"]), shape);
}
