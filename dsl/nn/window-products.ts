/** The product of a kernel with windows of a map, which is a convolution or a transposed one, by the windows. */
import { type Distribution, divideDims, truncatedNormal, UsageError, zeros } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, contract, merge, split } from "../tensor.ts";
import { linear } from "./linear.ts";

/** Options of the parameters, as those of a convolution. */
export interface KernelOptions {
  readonly groups?: number;
  readonly bias?: boolean;
  readonly init?: Distribution;
}

/**
 * windows [..., from, kernels] -> [..., to]. Parameters `weight` [to, kernels, from] and `bias` [to]; with groups,
 * `weight` is [group, to_of_group, kernels, from].
 */
export function productOfWindows(
  p: Params,
  windows: AnyTensor,
  kernels: readonly Axis[],
  from: Axis,
  to: Axis,
  { bias = true, init = truncatedNormal(0.02), groups = 1 }: KernelOptions,
): AnyTensor {
  if (groups === 1) return linear<string, string, string>(p, windows, [...kernels, from], [to], { bias, init });
  const group = axis("group", groups);
  const [each, own] = [part(from, groups), axis(`${to.name}_of_group`, part(to, groups).size)];
  const apart = split(windows, from, [group, each]);
  const weight: AnyTensor = p.parameter("weight", [group, own, ...kernels, each], init);
  const y: AnyTensor = merge(contract(apart, weight, [...kernels, each]), [group, own], to);
  return bias ? add(y, p.parameter("bias", [to], zeros)) : y;
}

/** The channels of one group. */
function part(channels: Axis, groups: number): Axis {
  const size = divideDims(channels.size, groups);
  if (size === undefined)
    throw new UsageError(`axis "${channels.name}" of size ${channels.size} is not divisible by ${groups} groups`);
  return axis(channels.name, size);
}
