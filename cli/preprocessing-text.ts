/** How images are preprocessed, as the line that commands print. */
import type { Geometry, Normalization, Tiling } from "../data/index.ts";
import type { CheckpointPreprocessing } from "./preprocessor-config.ts";

/** "images: 24 × 24, squash, bicubic, mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (siglip/preprocessor_config.json)" */
export function imagesText(
  made: Normalization & { readonly size: number; readonly shape: string; readonly source: string },
): string {
  const { size, shape, mean, std, source } = made;
  const numbers = (of: readonly number[]) => of.map((n) => Number(n.toFixed(4))).join(" ");
  return `images: ${size} × ${size}, ${shape}, mean ${numbers(mean)}, std ${numbers(std)} (${source})`;
}

/** The file, and what of it is not applied. */
export const sourceText = ({ path, unknown }: Pick<CheckpointPreprocessing, "path" | "unknown">): string =>
  unknown.length === 0
    ? path
    : `${path}, of which ${unknown.join(", ")} ${unknown.length > 1 ? "are" : "is"} not understood`;

/** "1 to 12 tiles and a thumbnail, bicubic" */
export const tilingText = (
  { least, most, thumbnail }: Omit<Tiling, "size">,
  { interpolation = "bicubic" }: Geometry,
): string => `${least} to ${most} tiles${thumbnail ? " and a thumbnail" : ""}, ${interpolation}`;

/** "crop from 256, bilinear" */
export function shapeText({ size, fit, short = size, stretched, interpolation = "bicubic" }: Geometry): string {
  const from = stretched ? ` from ${short} × ${short}` : short === size ? "" : ` from ${short}`;
  return `${fit}${fit === "crop" ? from : ""}, ${interpolation}`;
}
