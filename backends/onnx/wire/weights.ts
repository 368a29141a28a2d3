/** Weights on their way into a file: read in pieces, converted, reordered where the file wants another order. */
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
import type { StoredTensor } from "../emit/placement.ts";
import { bytesOf, fromBytes, toBytes, type WireType, wireBytes } from "./elements.ts";

/** The elements of a parameter, row-major in its declared axes, little-endian, in pieces of any length. */
export interface WeightChunks {
  readonly dtype: DType;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

type Found = HostTensor | WeightChunks | undefined;

/** Finds the value of a parameter; undefined when there is none. Asked once for each, in the order of the file. */
export type WeightSource = (parameter: Node) => Found | Promise<Found>;

/** Bytes that a stored tensor takes in the file. */
export const storedSize = (t: StoredTensor): number => t.dims.reduce((n, d) => n * d, wireBytes[t.type]);

/**
 * The bytes of a stored tensor in the file's order and type. Pieces pass through as they come; only a tensor that is
 * reordered is held whole. Throws UsageError for a missing weight and FileError for one of another length.
 */
export async function* storedBytes(t: StoredTensor, source: WeightSource): AsyncGenerator<Uint8Array> {
  const found = await source(t.parameter);
  if (!found) throw new UsageError(`parameter "${t.name}" (${printType(t.parameter.type)}) has no value`);
  const from = found.dtype;
  const pieces = "data" in found ? [bytesOf(found.data)] : found.chunks;
  if (t.perm.every((p, i) => p === i)) yield* converted(exact(t, from, pieces), from, t.type);
  else {
    const elements = fromBytes(from, await collect(exact(t, from, pieces)));
    yield toBytes(t.type, permute(elements, t.from, t.perm));
  }
}

type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The pieces, failing at the end when they are too few or as soon as they are too many. */
async function* exact(t: StoredTensor, from: DType, pieces: Pieces): AsyncGenerator<Uint8Array> {
  const expected = (storedSize(t) / wireBytes[t.type]) * dtypeBytes[from];
  let seen = 0;
  for await (const piece of pieces) {
    seen += piece.byteLength;
    if (seen > expected) break;
    yield piece;
  }
  if (seen !== expected) {
    throw new FileError(
      `parameter "${inputName(t.parameter)}" (${printType(t.parameter.type)}) takes ${expected} bytes of ${from}; its value has ${seen > expected ? "more" : `${seen}`}`,
    );
  }
}

/** Pieces in another type; an element that two pieces share is put together first. */
async function* converted(pieces: Pieces, from: WireType, to: WireType): AsyncGenerator<Uint8Array> {
  if (from === to) return yield* pieces;
  const size = wireBytes[from];
  let rest = new Uint8Array(0);
  for await (const piece of pieces) {
    const joined = rest.length === 0 ? piece : concatBytes([rest, piece]);
    const whole = joined.length - (joined.length % size);
    if (whole > 0) yield toBytes(to, fromBytes(from, joined.subarray(0, whole)));
    rest = joined.slice(whole);
  }
}

async function collect(pieces: Pieces): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return parts.length === 1 ? parts[0]! : concatBytes(parts);
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Elements of row-major `sizes` in the order of `perm`. */
function permute(x: ArrayLike<number>, sizes: readonly number[], perm: readonly number[]): Float32Array {
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const [outer, steps] = [perm.map((p) => sizes[p]!), perm.map((p) => strides[p]!)];
  const out = new Float32Array(x.length);
  const index = new Array<number>(outer.length).fill(0);
  const [run, stride] = [outer.at(-1) ?? 1, steps.at(-1) ?? 1];
  for (let at = 0, from = 0; at < out.length; ) {
    for (let i = 0; i < run; i++) out[at++] = x[from + i * stride]!;
    for (let d = outer.length - 2; d >= 0; d--) {
      from += steps[d]!;
      if (++index[d]! < outer[d]!) break;
      from -= outer[d]! * steps[d]!;
      index[d] = 0;
    }
  }
  return out;
}
