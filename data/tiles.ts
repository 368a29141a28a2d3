/**
 * Image tiling: an image is split into a grid of squares chosen by its aspect ratio and size, plus a thumbnail. Chen et
 * al. 2024, arXiv:2404.16821 (InternVL 1.5), section 3.3; released code: internvl_chat, dynamic_preprocess.
 */
import { type Sides, UsageError } from "../compiler/index.ts";
import type { Pixels } from "./pixels.ts";

/**
 * Bounds on the number of tiles, the side of these squares in pixels, and whether a thumbnail follows several tiles.
 */
export interface Tiling {
  readonly size: number;
  readonly least: number;
  readonly most: number;
  readonly thumbnail: boolean;
}

/** Tiles in batches: each sample has `room` rows of `pixels`, blank after its tiles. */
export interface TilesInBatch extends Omit<Tiling, "size"> {
  readonly room: number;
}

/** Tiles across and down. */
export interface Tiles {
  readonly columns: number;
  readonly rows: number;
}

/** Tiles of an image at most: all grids of fewer are compared for every image. */
export const mostTiles = 1024;

/**
 * The grid whose aspect ratio is nearest to the image's; among equal ones the smallest, or a larger one if the image
 * has more than half as many pixels as that. Throws UsageError for invalid bounds.
 */
export function tilesFor(picture: Sides, { size, least, most }: Pick<Tiling, "size" | "least" | "most">): Tiles {
  if (!(Number.isInteger(least) && Number.isInteger(most) && 1 <= least && least <= most && most <= mostTiles))
    throw new UsageError(
      `invalid range of ${least} to ${most} tiles: expected integers from 1 to ${mostTiles}, in ascending order`,
    );
  const shape = picture.width / picture.height;
  const pixels = picture.width * picture.height;
  let best: Tiles | undefined;
  let apart = Number.POSITIVE_INFINITY;
  for (const tiles of possible(least, most)) {
    const { columns, rows } = tiles;
    const difference = Math.abs(shape - columns / rows);
    const isLarger = difference === apart && pixels > 0.5 * size * size * columns * rows;
    if (difference < apart || isLarger) [best, apart] = [tiles, difference];
  }
  return best!;
}

/** The number of images made of one, including the thumbnail. */
export function tileCount(picture: Sides, tiling: Tiling): number {
  const { columns, rows } = tilesFor(picture, tiling);
  return columns * rows + (tiling.thumbnail && columns * rows > 1 ? 1 : 0);
}

/** All grids within the bounds, by increasing number of tiles, then narrowest first. */
function possible(least: number, most: number): Tiles[] {
  const all: Tiles[] = [];
  for (let columns = 1; columns <= most; columns += 1)
    for (let rows = Math.ceil(least / columns); columns * rows <= most; rows += 1) all.push({ columns, rows });
  return all.sort((a, b) => a.columns * a.rows - b.columns * b.rows);
}

/** Splits an image of columns × rows squares into tiles, row by row. */
export function cut(picture: Pixels, size: number): Pixels[] {
  const [columns, rows] = [picture.width / size, picture.height / size];
  return Array.from({ length: rows * columns }, (_, i) => tileAt(picture, size, i % columns, Math.floor(i / columns)));
}

function tileAt({ width, channels, data: from }: Pixels, size: number, column: number, row: number): Pixels {
  const line = size * channels;
  const data = new Uint8Array(size * line);
  for (let y = 0; y < size; y += 1) {
    const start = ((row * size + y) * width + column * size) * channels;
    data.set(from.subarray(start, start + line), y * line);
  }
  return { width: size, height: size, channels, data };
}
