/** Weights on their way into a file: read in pieces, converted, reordered or made integers where the file wants them so. */
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
import type { StoredPart, StoredTensor } from "../emit/placement.ts";
import { type Quantization, scaleDims } from "../emit/quantize.ts";
import { bytesOf, fromBytes, packNibbles, toBytes, type WholeType, wireBytes } from "./elements.ts";

/** The elements of a parameter, row-major in its declared axes, little-endian, in pieces of any length. */
export interface WeightChunks {
  readonly dtype: DType;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

type Weight = HostTensor | WeightChunks;

/**
 * Finds the value of a parameter; undefined when there is none. All are asked for before the first is read, so a large
 * one should come as chunks that are read when they are iterated.
 */
export type WeightSource = (parameter: Node) => Weight | undefined | Promise<Weight | undefined>;

/** Bytes that an initializer takes in the file. */
export const partSize = (p: StoredPart): number => Math.ceil(p.dims.reduce((n, d) => n * d, wireBytes[p.type]));

/** The value of every stored tensor; throws UsageError naming all that have none. */
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
 * The bytes of a stored tensor's parts, one iterable after another. Pieces pass through as they come; only a tensor that
 * is reordered or quantized is held whole. Throws FileError for a value of another length, or one that f16 cannot hold.
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
  const ordered = moved ? permute(bytes, wireBytes[type], t.from, t.perm) : bytes;
  if (!scales) return yield [values, [ordered]];
  const quantized = quantize(fromBytes(type, ordered), values.dims as [number, number], t.quantization!);
  yield [values, [values.type === "i4" ? packNibbles(quantized.integers) : bytesOf(quantized.integers)]];
  yield [scales, [toBytes(scales.type as WholeType, quantized.scales)]];
}

type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** The pieces, failing at the end when they are too few or as soon as they are too many. */
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
    `parameter ${what} takes ${expected} bytes as ${from}; its value has ${seen > expected ? "more" : seen}`,
  );
}

/** Pieces in another type; an element that two pieces share is put together first. */
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

/** The least magnitude that rounds to an infinity of f16. */
const beyondHalf = 65520;

function assertHalf(t: StoredTensor, values: ArrayLike<number>): void {
  for (let i = 0; i < values.length; i++) {
    const value = Math.abs(values[i]!);
    if (value < beyondHalf || !Number.isFinite(value)) continue;
    const name = inputName(t.parameter);
    throw new FileError(`parameter "${name}" holds ${values[i]}, which f16 cannot; export it as f32, int8 or int4`);
  }
}

/** All pieces in one array of `size` bytes, which they fill. */
export async function collect(pieces: Pieces, size: number): Promise<Uint8Array<ArrayBuffer>> {
  const all = new Uint8Array(size);
  let at = 0;
  for await (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Elements as unsigned integers: moving them reads no floats, and f16 would be widened and rounded again. */
type Words = Uint8Array<ArrayBuffer> | Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
const wordArrays = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const;

/** Elements of `width` bytes, row-major in `sizes`, in the order of `perm`. */
function permute(
  bytes: Uint8Array<ArrayBuffer>,
  width: number,
  sizes: readonly number[],
  perm: readonly number[],
): Uint8Array {
  const words = new wordArrays[width as 1 | 2 | 4](bytes.buffer, bytes.byteOffset, bytes.length / width);
  const runs = perm.reduce<number[][]>((all, p, i) => {
    if (i > 0 && p === perm[i - 1]! + 1) all.at(-1)!.push(p);
    else all.push([p]);
    return all;
  }, []);
  const span = (run: readonly number[]) => run.reduce((n, p) => n * sizes[p]!, 1);
  const [first, second] = runs;
  const turned = runs.length === 2 && second![0] === 0;
  return bytesOf(turned ? turn(words, span(second!), span(first!)) : gatherPermuted(words, sizes, perm));
}

/** A matrix's columns as rows, tile by tile, so that neither side of the copy leaves the cache. */
function turn(x: Words, rows: number, columns: number): Words {
  const out = x.slice();
  const tile = 32;
  for (let r0 = 0; r0 < rows; r0 += tile) {
    const r1 = Math.min(rows, r0 + tile);
    for (let c0 = 0; c0 < columns; c0 += tile) {
      const c1 = Math.min(columns, c0 + tile);
      for (let c = c0; c < c1; c++) for (let r = r0; r < r1; r++) out[c * rows + r] = x[r * columns + c]!;
    }
  }
  return out;
}

function gatherPermuted(x: Words, sizes: readonly number[], perm: readonly number[]): Words {
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const [outer, steps] = [perm.map((p) => sizes[p]!), perm.map((p) => strides[p]!)];
  const out = x.slice();
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

/** Symmetric integers: each block is divided by its largest magnitude over 127 (or 7), and rounded. */
function quantize(x: ArrayLike<number>, dims: readonly [number, number], q: Quantization) {
  const [rows, columns] = dims;
  const largest = q.bits === 8 ? 127 : 7;
  const scales = new Float32Array(scaleDims(dims, q).reduce((n, d) => n * d, 1));
  const integers = new Int8Array(x.length);
  const blocks = Math.ceil(columns / q.block);
  const scaleAt =
    q.channel === 0
      ? (r: number, c: number) => r * blocks + Math.floor(c / q.block)
      : (r: number, c: number) => Math.floor(r / q.block) * columns + c;
  const each = (visit: (i: number, s: number) => void) => {
    for (let r = 0, i = 0; r < rows; r++) for (let c = 0; c < columns; c++, i++) visit(i, scaleAt(r, c));
  };
  each((i, s) => {
    scales[s] = Math.max(scales[s]!, Math.abs(x[i]!) / largest);
  });
  each((i, s) => {
    integers[i] = scales[s] === 0 ? 0 : Math.round(x[i]! / scales[s]!);
  });
  return { integers, scales };
}
