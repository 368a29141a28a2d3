/** Quantizes matrices to integers with scales, and back. */
import { type Quantization, scaleDims } from "../forms/stored.ts";
import { bytesOf, packNibbles } from "./elements.ts";

export interface ScaledIntegers {
  readonly integers: Int8Array<ArrayBuffer>;
  readonly scales: Float32Array<ArrayBuffer>;
}

/**
 * Symmetric quantization: each block is divided by its scale and rounded. In 8 bits the largest magnitude maps to 127.
 * In 4 bits the element of largest magnitude maps to -8, so a scale may be negative: all 16 integers are used, and an
 * element as far on the other side saturates at 7.
 */
export function quantize(x: ArrayLike<number>, q: Quantization): ScaledIntegers {
  const [farthest, most] = q.bits === 8 ? [127, 127] : [-8, 7];
  const scales = new Float32Array(scaleDims(q).reduce((n, d) => n * d, 1));
  const integers = new Int8Array(x.length);
  eachRun(q, (from, to, first, step) => {
    for (let i = from, s = first; i < to; i++, s += step) if (Math.abs(x[i]!) > Math.abs(scales[s]!)) scales[s] = x[i]!;
  });
  for (let s = 0; s < scales.length; s++) scales[s] = (q.bits === 8 ? Math.abs(scales[s]!) : scales[s]!) / farthest;
  eachRun(q, (from, to, first, step) => {
    for (let i = from, s = first; i < to; i++, s += step)
      integers[i] = scales[s] === 0 ? 0 : Math.min(most, Math.round(x[i]! / scales[s]!));
  });
  return { integers, scales };
}

/** The dequantized matrix. */
export function dequantize({ integers, scales }: ScaledIntegers, q: Quantization): Float32Array<ArrayBuffer> {
  const x = new Float32Array(integers.length);
  eachRun(q, (from, to, first, step) => {
    for (let i = from, s = first; i < to; i++, s += step) x[i] = integers[i]! * scales[s]!;
  });
  return x;
}

/** The integers in the file's format. */
export function integerBytes(integers: Int8Array<ArrayBuffer>, q: Quantization): Uint8Array {
  if (q.packed) return packedBlocks(integers, q);
  if (q.unsigned) return offsetBytes(integers);
  return q.bits === 4 ? packNibbles(integers) : bytesOf(integers);
}

/** Unsigned with zero point 128. In a loop, since `Uint8Array.from` with a function takes 60 times as long. */
function offsetBytes(integers: Int8Array): Uint8Array {
  const bytes = new Uint8Array(integers.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = integers[i]! + 128;
  return bytes;
}

/** Bytes per block of a packed matrix. */
export const blockBytes = ({ block, bits }: Quantization): number => (block * bits) / 8;

/**
 * Blocks along the columns, each in whole bytes: unsigned with zero point 8 or 128; two 4-bit per byte, low nibble
 * first.
 */
function packedBlocks(integers: Int8Array, q: Quantization): Uint8Array {
  const [rows, columns] = q.dims;
  const rowBytes = Math.ceil(columns / q.block) * blockBytes(q);
  const [middle, perByte] = q.bits === 8 ? [128, 1] : [8, 2];
  const packed = new Uint8Array(rows * rowBytes).fill(perByte === 2 ? middle | (middle << 4) : middle);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c += perByte) {
      const low = integers[r * columns + c]! + middle;
      const high = c + 1 < columns ? integers[r * columns + c + 1]! + middle : middle;
      packed[r * rowBytes + c / perByte] = perByte === 2 ? low | (high << 4) : low;
    }
  }
  return packed;
}

/** Visits ranges [from, to) of elements, with the index of the first one's scale and the step to the next one's. */
function eachRun(q: Quantization, visit: (from: number, to: number, scale: number, step: 0 | 1) => void): void {
  const [rows, columns] = q.dims;
  const blocks = Math.ceil(columns / q.block);
  for (let r = 0; r < rows; r++) {
    const row = r * columns;
    if (q.channel !== 0) visit(row, row + columns, Math.floor(r / q.block) * columns, 1);
    else
      for (let b = 0; b < blocks; b++)
        visit(row + b * q.block, row + Math.min((b + 1) * q.block, columns), r * blocks + b, 0);
  }
}
