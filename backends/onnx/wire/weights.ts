/** Streams weights into a file: reads pieces, then converts, transposes or quantizes them as the file requires. */
import {
  type DType,
  dtypeBytes,
  FileError,
  type HostTensor,
  inputName,
  type Node,
  printType,
  UsageError,
} from "../../../compiler/index.ts";
import type { Quantization, StoredPart, StoredTensor } from "../forms/stored.ts";
import { bytesOf, fromBytes, toBytes, type WholeType, wireBytes } from "./elements.ts";
import { dequantize, integerBytes, quantize } from "./integers.ts";
import { transposeBytes } from "./transpose-bytes.ts";

/** The elements of a parameter, row-major in its declared axes, little-endian, in chunks of any length. */
export interface WeightChunks {
  readonly dtype: DType;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

type Weight = HostTensor | WeightChunks;

/**
 * Finds the value of a parameter; undefined if there is none. All are requested before the first is read, so large
 * values should be lazily read chunks.
 */
export type WeightSource = (parameter: Node) => Weight | undefined | Promise<Weight | undefined>;

/** Bytes of an initializer in the file. */
export const partSize = (p: StoredPart): number => Math.ceil(p.dims.reduce((n, d) => n * d, wireBytes[p.type]));

/** The value of every stored tensor; throws UsageError listing those without one. */
export async function findWeights(
  stored: readonly StoredTensor[],
  source: WeightSource,
): Promise<Map<StoredTensor, Weight>> {
  const found = new Map<StoredTensor, Weight>();
  const missing: string[] = [];
  for (const t of stored) {
    const weight = await source(t.parameter);
    if (weight) found.set(t, weight);
    else missing.push(`  ${inputName(t.parameter)} ${printType(t.parameter.type)}`);
  }
  if (missing.length === 0) return found;
  const shown = missing.slice(0, 8).concat(missing.length > 8 ? [`  and ${missing.length - 8} more`] : []);
  throw new UsageError(`${missing.length} of ${stored.length} weights have no value:\n${shown.join("\n")}`);
}

/**
 * The bytes of a stored tensor's parts, one iterable per part. Pieces are streamed; only a tensor that is transposed or
 * quantized is held whole. Throws FileError for a value of the wrong length, or one that overflows f16.
 */
export async function* storedParts(
  t: StoredTensor,
  weight: Weight,
): AsyncGenerator<readonly [StoredPart, AsyncIterable<Uint8Array> | Iterable<Uint8Array>]> {
  const [values, scales] = t.parts as [StoredPart, StoredPart | undefined];
  const from = weight.dtype;
  const pieces = exact(t, from, "data" in weight ? [toBytes(from, weight.data)] : weight.chunks);
  const moved = t.perm.some((p, i) => p !== i);
  if (!moved && !scales) return yield [values, converted(t, pieces, from, values.type as WholeType)];
  const type = scales ? from : (values.type as WholeType);
  const count = t.from.reduce((n, d) => n * d, 1);
  const bytes = await collect(converted(t, pieces, from, type), count * wireBytes[type]);
  const ordered = moved ? transposeBytes(bytes, wireBytes[type], t.from, t.perm) : bytes;
  if (!scales) return yield [values, [ordered]];
  const quantized = quantize(fromBytes(type, ordered), t.quantization!);
  yield [values, [integerBytes(quantized.integers, t.quantization!)]];
  yield [scales, [toBytes(scales.type as WholeType, quantized.scales)]];
}

type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Passes pieces through, failing at the end if there are too few bytes, or as soon as there are too many. */
async function* exact(t: StoredTensor, from: DType, pieces: Pieces): AsyncGenerator<Uint8Array> {
  const expected = t.from.reduce((n, d) => n * d, dtypeBytes[from]);
  let seen = 0;
  for await (const piece of pieces) {
    seen += piece.byteLength;
    if (seen > expected) break;
    yield piece;
  }
  if (seen === expected) return;
  const what = `"${inputName(t.parameter)}" (${printType(t.parameter.type)})`;
  throw new FileError(
    `parameter ${what} needs ${expected} bytes as ${from}; its value has ${seen > expected ? "more" : seen}`,
  );
}

/** Converts pieces to another type, joining elements that straddle two pieces. */
async function* converted(t: StoredTensor, pieces: Pieces, from: WholeType, to: WholeType): AsyncGenerator<Uint8Array> {
  if (from === to) return yield* pieces;
  const size = wireBytes[from];
  let rest = new Uint8Array(0);
  for await (const piece of pieces) {
    const joined = rest.length === 0 ? piece : await collect([rest, piece], rest.length + piece.length);
    const whole = joined.length - (joined.length % size);
    if (whole > 0) {
      const values = fromBytes(from, joined.subarray(0, whole));
      if (to === "f16") assertHalf(t, values);
      yield toBytes(to, values);
    }
    rest = joined.slice(whole);
  }
}

/** The smallest magnitude that rounds to infinity in f16. */
const beyondHalf = 65520;

function assertHalf(t: StoredTensor, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    const value = Math.abs(values[i]!);
    if (value < beyondHalf || !Number.isFinite(value)) continue;
    const name = inputName(t.parameter);
    throw new FileError(
      `parameter "${name}" has the value ${values[i]}, which f16 cannot represent; export it as f32, int8 or int4`,
    );
  }
}

/** Concatenates pieces of `size` bytes in total. */
export async function collect(pieces: Pieces, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(size);
  let at = 0;
  for await (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/**
 * A parameter's value as the file represents it, rounded to the stored type or quantized, returned in f32 with its own
 * axes.
 */
export function storedValue(t: StoredTensor, value: HostTensor): HostTensor {
  if (t.quantization) return { ...value, dtype: "f32", data: asIntegers(t, t.quantization, value.data) };
  if (t.parts[0]!.type !== "f16") return value;
  return { ...value, dtype: "f32", data: Float32Array.from(Float16Array.from(value.data)) };
}

function asIntegers(t: StoredTensor, q: Quantization, data: ArrayLike<number>): Float32Array {
  const ordered = floats(transposeBytes(bytesOf(Float32Array.from(data)), 4, t.from, t.perm));
  const there = t.perm.map((p) => t.from[p]!);
  const back = t.perm.map((_, i) => t.perm.indexOf(i));
  return floats(transposeBytes(bytesOf(dequantize(quantize(ordered, q), q)), 4, there, back));
}

const floats = (b: Uint8Array<ArrayBuffer>) => new Float32Array(b.buffer, b.byteOffset, b.length / 4);
