/** Parameters and state in an ONNX model: as initializers, and as inputs that read device memory. */
import type { DType, Node } from "../../../compiler/index.ts";
import type { WireType } from "../wire/elements.ts";

/** An initializer. */
export interface StoredPart {
  readonly name: string;
  readonly type: WireType;
  readonly dims: readonly number[];
}

/** How a matrix is written as integers. */
export interface Quantization {
  /** The matrix, in the file's order. */
  readonly dims: readonly [rows: number, columns: number];
  readonly bits: 8 | 4;
  /** The dimension whose every index has scales of its own. */
  readonly channel: 0 | 1;
  /** Elements along the other dimension that share a scale: all of them, or 32 for the coarse integers of 4 bits. */
  readonly block: number;
  /** True where blocks of a row lie in bytes of their own, as unsigned integers around their middle; the last is filled up. */
  readonly packed?: boolean;
}

/** The scales' dimensions: one for each channel, and where there are several blocks one for each of those. */
export function scaleDims(q: Quantization): number[] {
  const [rows, columns] = q.dims;
  const blocks = Math.ceil((q.channel === 0 ? columns : rows) / q.block);
  if (q.bits === 8 && !q.packed) return [q.channel === 0 ? rows : columns];
  return q.channel === 0 ? [rows, blocks] : [blocks, columns];
}

/** A parameter in the file: its elements in the order of `perm`, under the dimensions in which they are used. */
export interface StoredTensor {
  readonly parameter: Node;
  /** Sizes of the parameter's axes, row-major, without those of 1. */
  readonly from: readonly number[];
  /** For each axis of the file's order, the axis of `from`. */
  readonly perm: readonly number[];
  /** The values; or integers and their scales. */
  readonly parts: readonly StoredPart[];
  readonly quantization?: Quantization;
}

/** A model input that reads a range of a tensor kept on the device. */
export interface BoundInput {
  readonly name: string;
  /** The parameter or state, and the first element of the range. */
  readonly tensor: string;
  readonly start: number;
  readonly dtype: DType;
  readonly dims: readonly number[];
}
