/** Embeddings: of token ids, and of image patches. */
import { normal } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, gather, merge, split, type Tensor, typed } from "../tensor.ts";
import { linear } from "./linear.ts";

/** Rows of a learned table. ids i32 [...] -> [..., embed]. Parameter `weight` [vocab, embed]. */
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

export interface ImageAxes {
  readonly channel: Axis<"channel">;
  readonly row: Axis<"row">;
  readonly column: Axis<"column">;
}

/** The axes of a square RGB image of `size` pixels. */
export const imageAxes = (size: number, channels = 3): ImageAxes => ({
  channel: axis("channel", channels),
  row: axis("row", size),
  column: axis("column", size),
});

/**
 * Non-overlapping patches, each mapped linearly: a convolution with stride = kernel. Dosovitskiy et al. 2021, equation 1.
 * image [..., channel, row, column] -> [..., patch, embed], patches row by row.
 * Parameters `weight` [embed, channel, patch_row, patch_column] and `bias` [embed].
 */
export function patchEmbedding<A extends string, E extends string, P extends string>(
  p: Params,
  image: Tensor<A | "channel" | "row" | "column">,
  axes: ImageAxes,
  patchSize: number,
  embed: Axis<E>,
  patch: Axis<P>,
): Tensor<A | E | P> {
  const [rows, columns] = [axes.row, axes.column].map((a) => (a.size as number) / patchSize);
  const [inRow, inColumn] = [axis("patch_row", patchSize), axis("patch_column", patchSize)];
  const [gridRow, gridColumn] = [axis("grid_row", rows!), axis("grid_column", columns!)];
  const cut: AnyTensor = split(split(image, axes.row, [gridRow, inRow]), axes.column, [gridColumn, inColumn]);
  const mapped: AnyTensor = linear(p, cut, [axes.channel, inRow, inColumn], [embed]);
  return typed<A | E | P>(merge(mapped, [gridRow, gridColumn], patch));
}
