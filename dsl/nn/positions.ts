/** Position embeddings of a square grid, interpolated to another: in a graph, and once for a checkpoint. */
import { type Dim, mulDims } from "../../compiler/index.ts";
import { axis } from "../axis.ts";
import type { FitTensor } from "../checkpoints.ts";
import { merge, split, type Tensor } from "../tensor.ts";
import { bicubic, type ResizeWeights, resize } from "./resize.ts";

/**
 * Resizes [token = from², embed] to [token = rows · columns, embed], or to² of a square, bicubic with A = −0.75 and
 * align_corners = false, edges clamped: torch.nn.functional.interpolate, which the published code uses. The grid may be
 * symbolic, as that of images of any size is.
 */
export function interpolatePositions(
  x: Tensor<"token" | "embed">,
  from: number,
  to: Dim | readonly [rows: Dim, columns: Dim],
  weights: ResizeWeights = bicubic,
): Tensor<"token" | "embed"> {
  const [row, column] = [axis("row", from), axis("column", from)];
  const [rows, columns] = Array.isArray(to) ? (to as readonly [Dim, Dim]) : ([to, to] as [Dim, Dim]);
  const grid = split(x, axis("token", from * from), [row, column]);
  return merge(resize(grid, rows, columns, weights), [row, column], axis("token", mulDims(rows, columns)));
}

/** Options for position embeddings stored for a grid. */
export interface GridPositions {
  /** Tokens before the patches that keep their positions, such as a class token; default 1. */
  readonly before?: number;
  /** Default bicubic. */
  readonly resample?: ResizeWeights;
}

/**
 * A `fit` for a model's checkpoints that interpolates, once at loading, position embeddings stored for another square
 * grid. `isPositions` says which parameters they are.
 */
export const fitGridPositions =
  (isPositions: (parameter: string) => boolean, { before = 1, resample }: GridPositions = {}): FitTensor =>
  (parameter, stored, expected) => {
    const [from, to] = [stored, expected].map((shape) => Math.sqrt((shape.at(-2) ?? 0) - before)) as [number, number];
    const isGrid = [from, to].every((side) => Number.isInteger(side) && side >= 1);
    if (!isPositions(parameter) || stored.at(-1) !== expected.at(-1) || !isGrid) return undefined;
    return {
      note: `interpolated from ${from} × ${from} to ${to} × ${to} patches`,
      apply: (data) => resizedPositions(data, from, to, { before, ...(resample && { resample }) }),
    };
  };

/**
 * Resizes a stored position embedding to another grid: row-major [before + from², width] -> [before + to², width]; the
 * `before` rows ahead of the patches are unchanged. Runs once when a checkpoint is loaded at another resolution.
 */
export function resizedPositions(
  stored: Float32Array,
  from: number,
  to: number,
  { before = 1, resample = bicubic }: GridPositions = {},
): Float32Array {
  const width = stored.length / (from * from + before);
  const weights = resample(from, to);
  const rows = mixed(weights, stored.subarray(before * width), from, to, from * width);
  const out = new Float32Array((to * to + before) * width);
  out.set(stored.subarray(0, before * width));
  for (let row = 0; row < to; row++) {
    const line = rows.subarray(row * from * width, (row + 1) * from * width);
    out.set(mixed(weights, line, from, to, width), (row * to + before) * width);
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
