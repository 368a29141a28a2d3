/** The element types of safetensors files, and their conversion to and from host arrays. */
import { type DType, finiteRange, type HostData, InternalError, UnsupportedError } from "../../compiler/index.ts";

/**
 * For each stored type, the bytes per element and the default host dtype. Types wider than any host dtype are narrowed;
 * a value that the host dtype cannot represent is an error, never wrapped or made infinite.
 */
export const storedDTypes = {
  F64: { bytes: 8, host: "f32" },
  I64: { bytes: 8, host: "i32" },
  U64: { bytes: 8, host: "u32" },
  F32: { bytes: 4, host: "f32" },
  I32: { bytes: 4, host: "i32" },
  U32: { bytes: 4, host: "u32" },
  F16: { bytes: 2, host: "f16" },
  BF16: { bytes: 2, host: "f32" },
  I16: { bytes: 2, host: "i32" },
  U16: { bytes: 2, host: "u32" },
  I8: { bytes: 1, host: "i32" },
  U8: { bytes: 1, host: "u32" },
  BOOL: { bytes: 1, host: "bool" },
} as const satisfies Record<string, { bytes: number; host: DType }>;

export type StoredDType = keyof typeof storedDTypes;

export const isStoredDType = (name: string): name is StoredDType => Object.hasOwn(storedDTypes, name);

/** The stored type that represents a host dtype exactly. */
export const storedAs = { f32: "F32", f16: "F16", i32: "I32", u32: "U32", bool: "BOOL" } as const satisfies Record<
  DType,
  StoredDType
>;

/** Files are little-endian, and the conversions below view their bytes directly. */
export function requireLittleEndian(): void {
  if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1)
    throw new UnsupportedError("safetensors files need a little-endian processor");
}

/** A value that the requested type cannot represent. `index` counts elements from the start of the converted piece. */
export class ValueFault extends Error {
  readonly index: number;

  constructor(index: number, message: string) {
    super(message);
    this.index = index;
  }
}

/** Whether elements of `stored` can be read as `host`: their own host dtype, and floats as either float. */
export function isReadableAs(stored: StoredDType, host: DType): boolean {
  const own = storedDTypes[stored].host;
  const isFloat = (dtype: DType) => dtype === "f32" || dtype === "f16";
  return own === host || (isFloat(own) && isFloat(host));
}

/** Whether the stored bytes equal the host array's, so that a file can be read directly into it. */
export const hasHostLayout = (stored: StoredDType, host: DType): boolean =>
  storedAs[host] === stored && stored !== "BOOL";

/**
 * Converts stored bytes, aligned to 8, to `host`, writing to `out` from element `at` on. Throws ValueFault. Requires
 * isReadableAs.
 */
export function decodeInto(
  stored: StoredDType,
  host: DType,
  bytes: Uint8Array<ArrayBuffer>,
  out: HostData,
  at: number,
): void {
  const halves = halfDecoders[stored]?.[host as "f32" | "f16"];
  if (halves) halves(new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2), out, at);
  else out.set(decode(stored, host, bytes), at);
}

function decode(stored: StoredDType, host: DType, bytes: Uint8Array<ArrayBuffer>): Native {
  const { buffer, byteOffset, byteLength } = bytes;
  const native = views[stored](buffer, byteOffset, byteLength / storedDTypes[stored].bytes);
  if (host === "f16") return toFloat16(native as FloatSource);
  if (stored === "F64") return toFloat32(native as Float64Array);
  if (stored === "BOOL") return checkedBooleans(native as Uint8Array);
  return native;
}

type HalfDecoder = (halves: Uint16Array, out: HostData, at: number) => void;

/**
 * Checkpoints have billions of 16-bit floats, so these conversions work on bits, with lookup tables of all 65,536
 * patterns.
 */
const halfDecoders: Partial<Record<StoredDType, Partial<Record<"f32" | "f16", HalfDecoder>>>> = {
  BF16: {
    f32: (halves, out, at) => {
      const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
      for (let i = 0; i < halves.length; i++) bits[at + i] = halves[i]! << 16;
    },
    f16: (halves, out, at) => {
      const bits = new Uint16Array(out.buffer, out.byteOffset, out.length);
      const table = bfloat16AsFloat16();
      for (let i = 0; i < halves.length; i++) {
        const half = table[halves[i]!]!;
        bits[at + i] = half;
        if ((half & 0x7fff) === 0x7c00) refuseNewInfinity(widenBFloat16(halves.subarray(i, i + 1))[0]!, i, "f16");
      }
    },
  },
  F16: {
    f32: (halves, out, at) => {
      const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
      const table = float16AsFloat32();
      for (let i = 0; i < halves.length; i++) bits[at + i] = table[halves[i]!]!;
    },
  },
};

const allHalves = (): Uint16Array<ArrayBuffer> => Uint16Array.from({ length: 65536 }, (_, i) => i);

/** A lazily computed value. */
function once<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => (made ??= make());
}

const bfloat16AsFloat16 = once(() => new Uint16Array(new Float16Array(widenBFloat16(allHalves())).buffer));
const float16AsFloat32 = once(() => new Uint32Array(new Float32Array(new Float16Array(allHalves().buffer)).buffer));

type FloatSource = Float64Array | Float32Array | Float16Array;
type Native = HostData | Int16Array | Uint16Array | Int8Array;

/** The stored elements as a typed array; bfloat16 is widened, and 64-bit integers are narrowed if that is lossless. */
const views: Readonly<Record<StoredDType, (buffer: ArrayBuffer, offset: number, length: number) => Native>> = {
  F64: (buffer, offset, length) => new Float64Array(buffer, offset, length),
  I64: (buffer, offset, length) => narrowIntegers(new Int32Array(buffer, offset, 2 * length), (low) => low >> 31),
  U64: (buffer, offset, length) => narrowIntegers(new Uint32Array(buffer, offset, 2 * length), () => 0),
  F32: (buffer, offset, length) => new Float32Array(buffer, offset, length),
  I32: (buffer, offset, length) => new Int32Array(buffer, offset, length),
  U32: (buffer, offset, length) => new Uint32Array(buffer, offset, length),
  F16: (buffer, offset, length) => new Float16Array(buffer, offset, length),
  BF16: (buffer, offset, length) => widenBFloat16(new Uint16Array(buffer, offset, length)),
  I16: (buffer, offset, length) => new Int16Array(buffer, offset, length),
  U16: (buffer, offset, length) => new Uint16Array(buffer, offset, length),
  I8: (buffer, offset, length) => new Int8Array(buffer, offset, length),
  U8: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
  BOOL: (buffer, offset, length) => new Uint8Array(buffer, offset, length),
};

/** bfloat16 is the upper half of a float32. */
function widenBFloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** The low words of 64-bit integers, provided that each high word is just the sign extension. */
function narrowIntegers<T extends Int32Array | Uint32Array>(words: T, signExtension: (low: number) => number): T {
  const out = new (words.constructor as new (length: number) => T)(words.length / 2);
  for (let i = 0; i < out.length; i++) {
    const low = words[2 * i]!;
    if (words[2 * i + 1] !== signExtension(low)) throw new ValueFault(i, "it needs more than 32 bits");
    out[i] = low;
  }
  return out;
}

function checkedBooleans(bytes: Uint8Array): Uint8Array {
  const strange = bytes.findIndex((byte) => byte > 1);
  if (strange >= 0) throw new ValueFault(strange, `a bool must be 0 or 1, got ${bytes[strange]}`);
  return bytes;
}

function toFloat16(values: FloatSource): Float16Array {
  if (values instanceof Float16Array) return values;
  const out = new Float16Array(values);
  const bits = new Uint16Array(out.buffer);
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & 0x7fff) === 0x7c00) refuseNewInfinity(values[i]!, i, "f16");
  }
  return out;
}

function toFloat32(values: FloatSource): Float32Array {
  if (values instanceof Float32Array) return values;
  const out = new Float32Array(values);
  const bits = new Uint32Array(out.buffer);
  for (let i = 0; i < bits.length; i++) {
    if ((bits[i]! & 0x7fffffff) === 0x7f800000) refuseNewInfinity(values[i]!, i, "f32");
  }
  return out;
}

const largestFinite = { f32: finiteRange.f32[1], f16: finiteRange.f16[1], bf16: 3.3895313892515355e38 } as const;

function refuseNewInfinity(value: number, index: number, dtype: keyof typeof largestFinite): void {
  if (!Number.isFinite(value)) return;
  throw new ValueFault(index, `${value} is outside the range of ${dtype} (±${largestFinite[dtype]})`);
}

/** Rounds to the nearest bfloat16, ties to even, as PyTorch does; NaN stays NaN. */
function toBFloat16(values: FloatSource): Uint16Array {
  const floats = toFloat32(values);
  const bits = new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
  const out = new Uint16Array(bits.length);
  for (let i = 0; i < bits.length; i++) {
    const x = bits[i]!;
    const isNotANumber = (x & 0x7fffffff) > 0x7f800000;
    out[i] = isNotANumber ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
    if ((out[i]! & 0x7fff) === 0x7f80) refuseNewInfinity(floats[i]!, i, "bf16");
  }
  return out;
}

/** Sign-extends, or zero-extends, 32-bit integers to 64 bits. */
function widenIntegers(values: Int32Array | Uint32Array): Int32Array {
  const out = new Int32Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    out[2 * i] = values[i]!;
    out[2 * i + 1] = values[i]! < 0 ? -1 : 0;
  }
  return out;
}

type Encoder = (values: HostData) => ArrayBufferView<ArrayBufferLike> | undefined;

const isFloats = (v: HostData): v is FloatSource =>
  v instanceof Float32Array || v instanceof Float16Array || v instanceof Float64Array;

const isIntegers = (v: HostData): v is Int32Array | Uint32Array => v instanceof Int32Array || v instanceof Uint32Array;

const rawOnly: Encoder = () => undefined;

/** Converts host arrays to each stored type; undefined when the array's kind does not fit. */
const encoders: Readonly<Record<StoredDType, Encoder>> = {
  F64: (v) => (isFloats(v) ? Float64Array.from(v) : undefined),
  F32: (v) => (isFloats(v) ? toFloat32(v) : undefined),
  F16: (v) => (isFloats(v) ? toFloat16(v) : undefined),
  BF16: (v) => (isFloats(v) ? toBFloat16(v) : undefined),
  I64: (v) => (isIntegers(v) ? widenIntegers(v) : undefined),
  U64: (v) => (v instanceof Uint32Array ? widenIntegers(v) : undefined),
  I32: (v) => (v instanceof Int32Array ? v : undefined),
  U32: (v) => (v instanceof Uint32Array ? v : undefined),
  I16: rawOnly,
  U16: rawOnly,
  I8: rawOnly,
  U8: rawOnly,
  BOOL: rawOnly,
};

/**
 * The stored bytes of a piece of a tensor. A Uint8Array is already in the stored type; any other array is converted.
 * Throws ValueFault for a value that the stored type cannot represent, and InternalError for an array whose kind does
 * not fit.
 */
export function encode(stored: StoredDType, values: HostData): Uint8Array {
  if (values instanceof Uint8Array) return stored === "BOOL" ? checkedBooleans(values) : values;
  const view = encoders[stored](values);
  if (view === undefined) throw new InternalError(`a ${values.constructor.name} cannot be stored as ${stored}`);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
