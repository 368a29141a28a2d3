/** Convolutions, as contractions over sliding windows. */
import { divideDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import type { Tensor, Value } from "../values.ts";
import { multiplied } from "./kernel-products.ts";
import { transposedConvolution } from "./transposed-convolutions.ts";
import { kernelSizes, mapRoles as roles, sidesOf, spatialSizes, windowsOf } from "./windows.ts";

/** The operands of a convolution. */
export interface ConvolutionParts {
  readonly x: Value;
  readonly weight: Value;
  readonly bias?: Value | undefined;
}

export function convolve(n: NodeView, { x: given, weight, bias }: ConvolutionParts): Tensor {
  const x = n.tensor(given, ["batch", "channel", "row", "column"]);
  const spatial = spatialSizes(n, x);
  const sizes = kernelSizes(n, weight);
  if (!sizes.every((k) => typeof k === "number") || weight.shape.length !== x.shape.length)
    throw n.fail(`a kernel of [${weight.shape.join(", ")}] does not match [${x.shape.join(", ")}]`);
  const groups = n.int("group", 1);
  const [made, from] = [weight.shape[0]!, weight.shape[1]!];
  const channels = x.shape[1]!;
  if (!(groups >= 1)) throw n.fail(`${groups} groups`);
  const to = divideDims(made, groups);
  if (to === undefined || divideDims(channels, groups) !== from)
    throw n.fail(`${channels} channels in ${groups} groups do not match kernels of ${from}`);
  const windows = windowsOf(x, sidesOf(n, spatial, sizes), 0);
  return multiplied(n, x, windows, { weight, isTransposed: false, sizes, groups, from, to, bias });
}

export const convolutionRecords: Records = {
  Conv: { roles, build: (n) => convolve(n, { x: n.in(0), weight: n.in(1), bias: n.inputs[2] }) },
  ConvTranspose: { roles, build: transposedConvolution },
};
