/** ONNX element types: the heddle dtype of each, and their encoding in a file. */
import { type DType, FileError, UnsupportedError } from "../../../compiler/index.ts";

export interface ElementType {
  readonly name: string;
  /** The dtype of its values in a graph. */
  readonly dtype: DType;
  /** Bits of an element in raw_data. */
  readonly bits: number;
  /** Minimum and maximum; integers only. */
  readonly range?: readonly [number, number];
}

const integer = (name: string, bits: number, signed: boolean, dtype: DType): ElementType => ({
  name,
  bits,
  dtype,
  range: signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1],
});

/** By TensorProto.DataType. Narrow integers are i32 wrapped to their width; 64-bit ones are i32 or u32. */
const byCode: Readonly<Record<number, ElementType>> = {
  1: { name: "float", dtype: "f32", bits: 32 },
  2: integer("uint8", 8, false, "i32"),
  3: integer("int8", 8, true, "i32"),
  4: integer("uint16", 16, false, "i32"),
  5: integer("int16", 16, true, "i32"),
  6: integer("int32", 32, true, "i32"),
  7: integer("int64", 64, true, "i32"),
  9: { name: "bool", dtype: "bool", bits: 8 },
  10: { name: "float16", dtype: "f16", bits: 16 },
  11: { name: "double", dtype: "f32", bits: 64 },
  12: integer("uint32", 32, false, "u32"),
  13: integer("uint64", 64, false, "u32"),
  16: { name: "bfloat16", dtype: "f32", bits: 16 },
  21: integer("uint4", 4, false, "i32"),
  22: integer("int4", 4, true, "i32"),
  25: integer("uint2", 2, false, "i32"),
  26: integer("int2", 2, true, "i32"),
};

const others: Readonly<Record<number, string>> = {
  8: "string",
  14: "complex64",
  15: "complex128",
  17: "float8e4m3fn",
  18: "float8e4m3fnuz",
  19: "float8e5m2",
  20: "float8e5m2fnuz",
  23: "float4e2m1",
  24: "float8e8m0",
};

/** The element type of a code. Throws UnsupportedError for one without a dtype. */
export function elementType(code: number, where: string): ElementType {
  const found = Object.hasOwn(byCode, code) ? byCode[code] : undefined;
  if (found) return found;
  throw new UnsupportedError(
    `${where} holds ${others[code] ?? `elements of type ${code}`}, a type that heddle does not support`,
  );
}

const byName = new Map(Object.values(byCode).map((t) => [t.name, t]));
/** An element type by its ONNX name. */
export const elementNamed = (name: string): ElementType => byName.get(name)!;

export const float = elementNamed("float");
export const int64 = elementNamed("int64");
export const int32 = elementNamed("int32");
export const boolean = elementNamed("bool");

/** True if narrower than its dtype, so that results must be wrapped. */
export const isNarrow = ({ range, bits }: ElementType): boolean => range !== undefined && bits < 32;
export const isFloatType = ({ dtype }: ElementType): boolean => dtype === "f32" || dtype === "f16";

/** Bytes of `count` packed elements. */
export const bytesFor = (type: ElementType, count: number): number => Math.ceil((count * type.bits) / 8);

/** Decodes little-endian elements; those of less than 8 bits are packed from the lowest bit. */
export function readElements(type: ElementType, bytes: Uint8Array, count: number, name: string): Float64Array {
  const expected = bytesFor(type, count);
  if (bytes.length !== expected)
    throw new FileError(`${name} takes ${expected} bytes as ${type.name}; it has ${bytes.length}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const read = type.bits < 8 ? packed(type, bytes) : readers[type.name]!(view);
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) values[i] = read(i);
  return values;
}

function packed(type: ElementType, bytes: Uint8Array): (i: number) => number {
  const [each, mask] = [8 / type.bits, 2 ** type.bits - 1];
  const high = type.range![1];
  return (i) => {
    const value = (bytes[Math.floor(i / each)]! >> (type.bits * (i % each))) & mask;
    return value > high ? value - 2 ** type.bits : value;
  };
}

const readers: Readonly<Record<string, (view: DataView) => (i: number) => number>> = {
  float: (v) => (i) => v.getFloat32(4 * i, true),
  double: (v) => (i) => Math.fround(v.getFloat64(8 * i, true)),
  float16: (v) => (i) => v.getFloat16(2 * i, true),
  bfloat16: (v) => (i) => floatOfBits(v.getUint16(2 * i, true) << 16),
  uint8: (v) => (i) => v.getUint8(i),
  int8: (v) => (i) => v.getInt8(i),
  bool: (v) => (i) => Number(v.getUint8(i) !== 0),
  uint16: (v) => (i) => v.getUint16(2 * i, true),
  int16: (v) => (i) => v.getInt16(2 * i, true),
  int32: (v) => (i) => v.getInt32(4 * i, true),
  uint32: (v) => (i) => v.getUint32(4 * i, true),
  int64: (v) => (i) => Number(v.getBigInt64(8 * i, true)),
  uint64: (v) => (i) => Number(v.getBigUint64(8 * i, true)),
};

const scratch = new DataView(new ArrayBuffer(4));

function floatOfBits(bits: number): number {
  scratch.setUint32(0, bits >>> 0);
  return scratch.getFloat32(0);
}

/** Converts a value to its type: floats rounded, integers wrapped, booleans 0 or 1. */
export function held(type: ElementType, value: number): number {
  if (type.dtype === "bool") return Number(value !== 0);
  if (type.dtype === "f16") return Math.f16round(value);
  if (type.dtype === "f32") return Math.fround(value);
  return wrapped(type, value);
}

function wrapped({ range, bits }: ElementType, value: number): number {
  const [low, high] = range!;
  if (value >= low && value <= high) return value + 0;
  if (!Number.isFinite(value) || bits === 64) return Math.min(Math.max(value, low), high) || 0;
  const span = 2 ** bits;
  const above = ((value % span) + span) % span;
  return above > high ? above - span : above;
}
