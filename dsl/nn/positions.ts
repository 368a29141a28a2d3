/** Position embeddings of a grid, interpolated to another: in a graph, and once for a checkpoint. */
import { type Dim, mulDims, UsageError } from "../../compiler/index.ts";
import { axis } from "../axis.ts";
import type { FitTensor } from "../checkpoints.ts";
import type { Config } from "../config.ts";
import { merge, split, type Tensor } from "../tensor.ts";
import { bicubic, type ResizeWeights, resize } from "./resize.ts";

/** Rows and columns of patches; one number is a square. */
export type PatchGrid<D extends Dim = number> = D | readonly [rows: D, columns: D];

const isPair = <D extends Dim>(grid: PatchGrid<D>): grid is readonly [rows: D, columns: D] => Array.isArray(grid);
const pairOf = <D extends Dim>(grid: PatchGrid<D>): readonly [rows: D, columns: D] =>
  isPair(grid) ? grid : [grid, grid];

/**
 * Resizes [token = rows · columns of `from`, embed] to [token = rows · columns of `to`, embed], bicubic with A = −0.75
 * and align_corners = false, edges clamped: torch.nn.functional.interpolate, which the published code uses. The grid
 * `to` may be symbolic, as that of images of any size is.
 */
export function interpolatePositions(
  x: Tensor<"token" | "embed">,
  from: PatchGrid,
  to: PatchGrid<Dim>,
  weights: ResizeWeights = bicubic,
): Tensor<"token" | "embed"> {
  const [rows, columns] = pairOf(from);
  const [row, column] = [axis("row", rows), axis("column", columns)];
  const [newRows, newColumns] = pairOf(to);
  const grid = split(x, axis("token", rows * columns), [row, column]);
  return merge(resize(grid, newRows, newColumns, weights), [row, column], axis("token", mulDims(newRows, newColumns)));
}

/** Options for position embeddings stored for a grid. */
export interface GridPositions {
  /** Tokens before the patches that keep their positions, such as a class token; default 1. */
  readonly before?: number;
  /** Default bicubic. */
  readonly resample?: ResizeWeights;
}

/** Options for position embeddings that a checkpoint may have for another grid. */
export interface FittedPositions<C extends Config = Config> extends GridPositions {
  /** The model's grid; default a square. */
  readonly grid?: (config: C) => PatchGrid;
  /**
   * The grid of a checkpoint with this number of patches; default a square, or else one with the proportions of the
   * model's.
   */
  readonly stored?: (patches: number, config: C) => PatchGrid;
}

/**
 * A `fit` for a model's checkpoints that interpolates, once at loading, position embeddings stored for another grid.
 * `isPositions` says which parameters they are. Throws UsageError for a declared grid of another number of patches.
 */
export const fitGridPositions =
  <C extends Config = Config>(
    isPositions: (parameter: string) => boolean,
    { before = 1, resample = bicubic, grid, stored: storedGrid }: FittedPositions<C> = {},
  ): FitTensor<C> =>
  (parameter, stored, expected, config) => {
    if (!isPositions(parameter) || stored.at(-1) !== expected.at(-1)) return undefined;
    const [had, has] = [stored, expected].map((shape) => (shape.at(-2) ?? 0) - before) as [number, number];
    const to = grid ? declared(grid(config), has, parameter) : squareOf(has);
    const from = storedGrid ? declared(storedGrid(had, config), had, parameter) : (squareOf(had) ?? similar(to, had));
    if (!from || !to) return undefined;
    return {
      note: `interpolated from ${from.join(" × ")} to ${to.join(" × ")} patches`,
      apply: (data) => resizedPositions(data, from, to, { before, resample }),
    };
  };

type Pair = readonly [rows: number, columns: number];

function declared(grid: PatchGrid, patches: number, parameter: string): Pair {
  const [rows, columns] = pairOf(grid);
  if (rows * columns === patches) return [rows, columns];
  throw new UsageError(
    `"${parameter}" has ${patches} positions of patches, but its declared grid is ${rows} × ${columns}`,
  );
}

function squareOf(patches: number): Pair | undefined {
  const side = Math.sqrt(patches);
  return Number.isInteger(side) && side >= 1 ? [side, side] : undefined;
}

/** A grid of so many patches with the proportions of another. */
function similar(grid: Pair | undefined, patches: number): Pair | undefined {
  if (!grid || patches < 1) return undefined;
  const rows = Math.sqrt((patches * grid[0]) / grid[1]);
  const pair = [Math.round(rows), Math.round((rows * grid[1]) / grid[0])] as const;
  return pair[0] * grid[1] === pair[1] * grid[0] && pair[0] * pair[1] === patches ? pair : undefined;
}

/**
 * Resizes a stored position embedding to another grid: row-major [before + rows · columns of `from`, width] -> [before
 * + rows · columns of `to`, width]; the `before` rows ahead of the patches are unchanged. Runs once when a checkpoint
 * is loaded at another resolution.
 */
export function resizedPositions(
  stored: Float32Array,
  from: PatchGrid,
  to: PatchGrid,
  { before = 1, resample = bicubic }: GridPositions = {},
): Float32Array {
  const [[rows, columns], [newRows, newColumns]] = [pairOf(from), pairOf(to)];
  const width = stored.length / (rows * columns + before);
  const across = resample(columns, newColumns);
  const lines = mixed(resample(rows, newRows), stored.subarray(before * width), rows, newRows, columns * width);
  const out = new Float32Array((newRows * newColumns + before) * width);
  out.set(stored.subarray(0, before * width));
  for (let row = 0; row < newRows; row++) {
    const line = lines.subarray(row * columns * width, (row + 1) * columns * width);
    out.set(mixed(across, line, columns, newColumns, width), (row * newColumns + before) * width);
  }
  return out;
}

/** weights [to, from] times x [from, inner], row-major. */
function mixed(weights: readonly number[], x: Float32Array, from: number, to: number, inner: number): Float32Array {
  return Float32Array.from({ length: to * inner }, (_, at) => {
    const [i, k] = [Math.floor(at / inner), at % inner];
    let total = 0;
    for (let j = 0; j < from; j++) total += weights[i * from + j]! * x[j * inner + k]!;
    return total;
  });
}
