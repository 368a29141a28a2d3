/** Parameters and state of an ONNX model: as initializers, or as inputs that read device memory. */
import type { DType, Node } from "../../../compiler/index.ts";
import type { WireType } from "../wire/elements.ts";

/** An initializer. */
export interface StoredPart {
  readonly name: string;
  readonly type: WireType;
  readonly dims: readonly number[];
}

/** How a matrix is quantized. */
export interface Quantization {
  /** The matrix, in the file's order. */
  readonly dims: readonly [rows: number, columns: number];
  readonly bits: 8 | 4;
  /** The dimension with its own scales per index. */
  readonly channel: 0 | 1;
  /** Elements along the other dimension that share a scale: all of them, or 32 for 4-bit integers. */
  readonly block: number;
  /**
   * True if each block of a row is stored in whole bytes, as unsigned integers with a zero point; the last is padded.
   */
  readonly packed?: boolean;
  /** True if 8-bit integers of a matrix that is not packed are stored unsigned, with zero point 128. */
  readonly unsigned?: boolean;
}

/** The dimensions of the scales: one per channel, or one per channel and block. */
export function scaleDims(q: Quantization): number[] {
  const [rows, columns] = q.dims;
  const blocks = Math.ceil((q.channel === 0 ? columns : rows) / q.block);
  if (q.bits === 8 && !q.packed) return [q.channel === 0 ? rows : columns];
  return q.channel === 0 ? [rows, blocks] : [blocks, columns];
}

/** A parameter in the file: its elements permuted by `perm`, with the dimensions in which they are used. */
export interface StoredTensor {
  readonly parameter: Node;
  /** Sizes of the parameter's axes, row-major, without size-1 axes. */
  readonly from: readonly number[];
  /** For each axis in the file, the axis of `from`. */
  readonly perm: readonly number[];
  /** The values, or integers and their scales. */
  readonly parts: readonly StoredPart[];
  readonly quantization?: Quantization;
}

/** A model input that reads a range of a device tensor. */
export interface BoundInput {
  readonly name: string;
  /** The parameter or state; `start` is the first element of the range. */
  readonly tensor: string;
  readonly start: number;
  readonly dtype: DType;
  readonly dims: readonly number[];
}
