/** How images are preprocessed, as the line that commands print. */
import { type ImageSize, sizeText } from "../compiler/index.ts";
import type { Geometry, Normalization, Tiling } from "../data/index.ts";
import type { CheckpointPreprocessing } from "./preprocessor-config.ts";

/** "images: 24 × 24, squash, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (siglip/preprocessor_config.json)" */
export function imagesText(
  made: Normalization & { readonly size: ImageSize; readonly shape: string; readonly source: string },
): string {
  const { size, shape, mean, std, channelOrder = "rgb", source } = made;
  const numbers = (of: readonly number[]) => of.map((n) => Number(n.toFixed(4))).join(" ");
  const order = channelOrder === "rgb" ? "" : `, channels in the order ${channelOrder}`;
  return `images: ${sizeText(size)}, ${shape}, mean ${numbers(mean)}, std ${numbers(std)}${order} (${source})`;
}

/** The file, the size of its images if it has another aspect ratio, and what of it is not applied, or not exactly. */
export const sourceText = ({ path, otherwise, approximated, unknown }: CheckpointPreprocessing): string =>
  [
    path,
    ...(otherwise === undefined ? [] : [`which is for ${sizeText(otherwise)}`]),
    ...approximated,
    ...(unknown.length === 0
      ? []
      : [`of which ${unknown.join(", ")} ${unknown.length > 1 ? "are" : "is"} not understood`]),
  ].join(", ");

/** "1 to 12 tiles and a thumbnail, bicubic" */
export const tilingText = (
  { least, most, thumbnail }: Omit<Tiling, "size">,
  { interpolation = "bicubic" }: Geometry,
): string => `${least} to ${most} tiles${thumbnail ? " and a thumbnail" : ""}, ${interpolation}`;

/** "crop from 256, bilinear" */
export function shapeText({ size, fit, cover = size, stretched, interpolation = "bicubic" }: Geometry): string {
  const from = stretched || typeof cover !== "number" ? sizeText(cover) : String(cover);
  const isPlain = !stretched && sizeText(cover) === sizeText(size);
  return `${fit}${fit === "crop" && !isPlain ? ` from ${from}` : ""}, ${interpolation}`;
}
