/** Element types on the wire: ONNX codes, and little-endian bytes as raw_data requires. */
import type { DType } from "../../../compiler/index.ts";

/** Element types of exported values: graph IR dtypes, 64-bit integers for shapes, 8- and 4-bit integers for weights. */
export type WireType = DType | "i64" | "i8" | "u8" | "i4";

/** Types whose elements occupy whole bytes. */
export type WholeType = Exclude<WireType, "i4">;

/** TensorProto.DataType */
export const wireCodes: Readonly<Record<WireType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  i32: 6,
  i64: 7,
  bool: 9,
  f16: 10,
  u32: 12,
  i4: 22,
};

/** Bytes per element; two i4 share a byte. */
export const wireBytes: Readonly<Record<WireType, number>> = {
  f32: 4,
  i8: 1,
  u8: 1,
  i32: 4,
  i64: 8,
  bool: 1,
  f16: 2,
  u32: 4,
  i4: 0.5,
};

/** The name of an ONNX element type code; its number if unknown here. */
export const wireTypeName = (code: number): string =>
  (Object.keys(wireCodes) as WireType[]).find((t) => wireCodes[t] === code) ?? `type${code}`;

const arrays = {
  f32: Float32Array,
  f16: Float16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
  i8: Int8Array,
  u8: Uint8Array,
} as const;

/** The elements as bytes of `type`. Every platform that Node runs on is little-endian. */
export function toBytes(type: WholeType, values: ArrayLike<number>): Uint8Array {
  if (type === "i64") return bytesOf(BigInt64Array.from(Array.from(values), BigInt));
  const typed = values instanceof arrays[type] ? (values as InstanceType<(typeof arrays)[typeof type]>) : undefined;
  return bytesOf(typed ?? arrays[type].from(values));
}

export const bytesOf = <B extends ArrayBufferLike>(a: ArrayBufferView<B>): Uint8Array<B> =>
  new Uint8Array(a.buffer, a.byteOffset, a.byteLength);

/** The elements in `bytes`, copied if they are not aligned for their type. */
export function fromBytes(type: WholeType, bytes: Uint8Array): ArrayLike<number> {
  const aligned = bytes.byteOffset % wireBytes[type] === 0 ? bytes : new Uint8Array(bytes);
  const [buffer, offset, length] = [aligned.buffer as ArrayBuffer, aligned.byteOffset, bytes.length / wireBytes[type]];
  if (type === "i64") return Array.from(new BigInt64Array(buffer, offset, length), Number);
  return new arrays[type](buffer, offset, length);
}

/** Packs integers from -8 to 7, two per byte, low nibble first. */
export function packNibbles(values: Int8Array): Uint8Array<ArrayBuffer> {
  const packed = new Uint8Array(Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) packed[i >> 1]! |= (values[i]! & 15) << (4 * (i & 1));
  return packed;
}
