/** Bicubic interpolation of a square grid of position embeddings. */
import { type AnyTensor, axis, contract, merge, split, type Tensor, table } from "../../dsl/index.ts";

/**
 * Resizes [token = from², embed] to [token = to², embed], bicubic with A = −0.75 and align_corners = false, edges
 * clamped: torch.nn.functional.interpolate, which the published code uses.
 */
export function interpolatePositions(
  x: Tensor<"token" | "embed">,
  from: number,
  to: number,
): Tensor<"token" | "embed"> {
  const [row, column] = [axis("grid_row", from), axis("grid_column", from)];
  const [newRow, newColumn] = [axis("new_row", to), axis("new_column", to)];
  const weights = bicubicWeights(from, to);
  const grid: AnyTensor = split(x, axis("token", from * from), [row, column]);
  const rows: AnyTensor = contract(table(weights, [newRow, row]) as AnyTensor, grid, row);
  const both: AnyTensor = contract(table(weights, [newColumn, column]) as AnyTensor, rows, column);
  return merge(both, [newRow, newColumn], axis("token", to * to)) as Tensor<"token" | "embed">;
}

/** Row-major [to, from]: the weight of each old sample in each new one. Keys 1981, with A = −0.75. */
export function bicubicWeights(from: number, to: number): number[] {
  const weights = new Array<number>(to * from).fill(0);
  for (let i = 0; i < to; i++) {
    const center = ((i + 0.5) * from) / to - 0.5;
    const base = Math.floor(center);
    for (let tap = -1; tap <= 2; tap++) {
      const source = Math.min(from - 1, Math.max(0, base + tap));
      weights[i * from + source]! += cubic(center - (base + tap));
    }
  }
  return weights;
}

function cubic(distance: number): number {
  const [a, x] = [-0.75, Math.abs(distance)];
  if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
  return 0;
}

/**
 * A stored position embedding for another grid: row-major [1 + from², width] -> [1 + to², width]; the class token's row
 * stays. Loading a checkpoint at another resolution does this once.
 */
export function resizedPositions(stored: Float32Array, from: number, to: number): Float32Array {
  const width = stored.length / (from * from + 1);
  const rows = mixed(bicubicWeights(from, to), stored.subarray(width), from, to, from * width);
  const out = new Float32Array((to * to + 1) * width);
  out.set(stored.subarray(0, width));
  for (let row = 0; row < to; row++) {
    const line = rows.subarray(row * from * width, (row + 1) * from * width);
    out.set(mixed(bicubicWeights(from, to), line, from, to, width), (row * to + 1) * width);
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
