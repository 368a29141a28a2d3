/** Matrices as integers with scales, and back. */
import { type Quantization, scaleDims } from "../forms/stored.ts";

export type MatrixDims = readonly [rows: number, columns: number];

export interface ScaledIntegers {
  readonly integers: Int8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
}

/** Symmetric integers: each block is divided by its largest magnitude over 127 (or 7), and rounded. */
export function quantize(x: ArrayLike<number>, dims: MatrixDims, q: Quantization): ScaledIntegers {
  const largest = q.bits === 8 ? 127 : 7;
  const scales = new Float32Array(scaleDims(dims, q).reduce((n, d) => n * d, 1));
  const integers = new Int8Array(x.length);
  eachElement(dims, q, (i, s) => {
    scales[s] = Math.max(scales[s]!, Math.abs(x[i]!) / largest);
  });
  eachElement(dims, q, (i, s) => {
    integers[i] = scales[s] === 0 ? 0 : Math.round(x[i]! / scales[s]!);
  });
  return { integers, scales };
}

/** The matrix that the integers stand for. */
export function dequantize({ integers, scales }: ScaledIntegers, dims: MatrixDims, q: Quantization) {
  const x = new Float32Array(integers.length);
  eachElement(dims, q, (i, s) => {
    x[i] = integers[i]! * scales[s]!;
  });
  return x;
}

/** Visits the elements, each with the place of its scale. */
function eachElement(
  [rows, columns]: MatrixDims,
  q: Quantization,
  visit: (element: number, scale: number) => void,
): void {
  const blocks = Math.ceil(columns / q.block);
  const scaleAt =
    q.channel === 0
      ? (r: number, c: number) => r * blocks + Math.floor(c / q.block)
      : (r: number, c: number) => Math.floor(r / q.block) * columns + c;
  for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < columns; c++, i++) visit(i, scaleAt(r, c));
}
