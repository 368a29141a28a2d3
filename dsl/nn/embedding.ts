/** Embeddings of token ids and of image patches. */
import { type Dim, divideDims, normal, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, gather, merge, split, type Tensor, typed } from "../tensor.ts";
import { type LinearOptions, linear } from "./linear.ts";

/** Token embedding: rows of a learned table. ids i32 [...] -> [..., embed]. Parameter `weight` [vocab, embed]. */
export const embedding = <A extends string, E extends string>(
  p: Params,
  ids: Tensor<A>,
  vocab: Axis,
  embed: Axis<E>,
  std = 0.02,
): Tensor<A | E> => {
  const rows: AnyTensor = p.parameter("weight", [vocab as Axis, embed], normal(std));
  return typed<A | E>(gather(rows, ids, vocab));
};

/** The axes of images: channel, row and column, as `imageAxes` makes them. */
export interface ImageAxes {
  readonly channel: Axis<"channel">;
  readonly row: Axis<"row">;
  readonly column: Axis<"column">;
}

const isPair = (size: Dim | readonly [Dim, Dim]): size is readonly [Dim, Dim] => Array.isArray(size);

/** The axes of an RGB image: a square of `size` pixels, or [rows, columns]. Sizes may be symbolic. */
export function imageAxes(size: Dim | readonly [rows: Dim, columns: Dim], channels = 3): ImageAxes {
  const [rows, columns] = isPair(size) ? size : ([size, size] as const);
  return { channel: axis("channel", channels), row: axis("row", rows), column: axis("column", columns) };
}

/**
 * Non-overlapping patches, each mapped linearly: a convolution with stride = kernel. Dosovitskiy et al. 2021, equation
 * 1. image [..., channel, row, column] -> [..., patch, embed], patches in row-major order. Parameters `weight` [embed,
 * channel, patch_row, patch_column] and `bias` [embed]. Symbolic sizes must be multiples of the patch:
 * imageAxes([mulDims(symbol("rows"), 14), ...]).
 */
export function patchEmbedding<A extends string, E extends string, P extends string>(
  p: Params,
  image: Tensor<A | "channel" | "row" | "column">,
  axes: ImageAxes,
  patchSize: number,
  embed: Axis<E>,
  patch: Axis<P>,
  options: LinearOptions = {},
): Tensor<A | E | P> {
  checkOptions("patchEmbedding", options, { bias: true, init: true });
  const [rows, columns] = [axes.row, axes.column].map((a) => patchesAlong(a, patchSize));
  const [inRow, inColumn] = [axis("patch_row", patchSize), axis("patch_column", patchSize)];
  const [gridRow, gridColumn] = [axis("grid_row", rows!), axis("grid_column", columns!)];
  const cut: AnyTensor = split(split(image, axes.row, [gridRow, inRow]), axes.column, [gridColumn, inColumn]);
  const mapped: AnyTensor = linear(p, cut, [axes.channel, inRow, inColumn], [embed], options);
  return typed<A | E | P>(merge(mapped, [gridRow, gridColumn], patch));
}

function patchesAlong(side: Axis, patch: number): Dim {
  const count = divideDims(side.size, patch);
  if (count !== undefined) return count;
  throw new UsageError(`axis "${side.name}" of ${side.size} pixels is not divisible by the patch size, ${patch}`);
}
