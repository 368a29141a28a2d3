/** Writes safetensors files as a stream: no tensor needs to be in memory as a whole. */
import { crc32 } from "#host";
import { type HostData, type HostTensor, InternalError, UsageError } from "../../compiler/index.ts";
import { fileError, quoted } from "../file-errors.ts";
import { type ByteSink, type WriteOptions, writeAtomically } from "../files.ts";
import { byteLengthOf, formatHeader, isTensorName, lengthBytes, longestHeader, type TensorLayout } from "./header.ts";
import { ownLayoutMark } from "./own-layout.ts";
import {
  encode,
  isStoredDType,
  requireLittleEndian,
  type StoredDType,
  storedAs,
  storedDTypes,
  ValueFault,
} from "./stored-dtype.ts";

/**
 * A tensor to be written. `data` is called when the tensor is due and yields its elements in row-major order, in pieces
 * of any size. A Uint8Array piece is written as it is; other arrays are converted to `dtype` (floats to any float, i32
 * and u32 also to I64), and a value that `dtype` cannot represent is an error.
 */
export interface TensorToWrite extends TensorLayout {
  readonly data: () => Iterable<HostData> | AsyncIterable<HostData>;
}

export interface SafetensorsWriteOptions extends WriteOptions {
  /** String metadata of the file. `format: "pt"` is added, without which Python transformers rejects a file. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Wraps a host tensor for writing, by default in the stored type that represents it exactly. */
export function tensorToWrite(name: string, tensor: HostTensor, dtype: StoredDType = storedAs[tensor.dtype]) {
  const shape = tensor.axes.map((axis) => axis.size);
  return { name, dtype, shape, data: () => [tensor.data] } satisfies TensorToWrite;
}

/**
 * Writes a safetensors file atomically: until it is complete and synced, `path` keeps its old content. Tensors with
 * wide elements come first, so that every tensor is aligned; otherwise they keep their order.
 * Throws FileError when the file cannot be written, `signal` aborts or a value does not fit its dtype.
 */
export async function writeSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  options: SafetensorsWriteOptions = {},
): Promise<void> {
  const send = prepareSafetensors(path, tensors, options.metadata);
  await writeAtomically(path, send, options);
}

/** Checks and lays out the tensors of a file; the returned function sends its bytes to a sink. */
export function prepareSafetensors(
  path: string,
  tensors: readonly TensorToWrite[],
  metadata: Readonly<Record<string, string>> = {},
): (sink: ByteSink) => Promise<void> {
  const { header, ordered } = laidOut(path, tensors, metadata);
  return async (sink) => {
    await sink(header);
    for (const tensor of ordered) await sendTensor(path, tensor, sink);
  };
}

/**
 * The layout of a checkpoint's file that `prepareSafetensors` writes for these tensors: its header, each tensor's
 * offset, and the total length.
 */
export function placeSafetensors(path: string, tensors: readonly TensorLayout[]) {
  const { header, ordered } = laidOut(path, tensors, ownLayoutMark);
  const offsets = new Map<string, number>();
  let bytes = header.length;
  for (const tensor of ordered) {
    offsets.set(tensor.name, bytes);
    bytes += byteLengthOf(tensor);
  }
  return { header, offsets, bytes };
}

function laidOut<T extends TensorLayout>(
  path: string,
  tensors: readonly T[],
  metadata: Readonly<Record<string, string>>,
): { readonly header: Uint8Array; readonly ordered: readonly T[] } {
  requireLittleEndian();
  requireWritable(path, tensors);
  const ordered = [...tensors].sort((a, b) => storedDTypes[b.dtype].bytes - storedDTypes[a.dtype].bytes);
  const header = formatHeader(ordered, new Map(Object.entries({ format: "pt", ...metadata })));
  if (header.length - lengthBytes <= longestHeader) return { header, ordered };
  throw fileError(
    path,
    `its header would be too large: ${header.length} bytes`,
    "write fewer tensors or shorter names",
  );
}

function requireWritable(path: string, tensors: readonly TensorLayout[]): void {
  const seen = new Set<string>();
  for (const { name, dtype, shape } of tensors) {
    if (!isTensorName(name)) throw new UsageError(`${path}: a tensor cannot have the name ${quoted(name)}`);
    if (seen.has(name)) throw new UsageError(`${path}: two tensors have the name ${quoted(name)}`);
    seen.add(name);
    const isShape = shape.every((size) => Number.isSafeInteger(size) && size >= 0);
    if (isStoredDType(dtype) && isShape && Number.isSafeInteger(byteLengthOf({ name, dtype, shape }))) continue;
    throw new InternalError(`${path}: ${quoted(name)} has no valid layout: ${dtype} [${shape.join(", ")}]`);
  }
}

async function sendTensor(path: string, tensor: TensorToWrite, sink: ByteSink): Promise<void> {
  const expected = byteLengthOf(tensor);
  let sent = 0;
  for await (const piece of tensor.data()) {
    const bytes = encodeOf(path, tensor, piece, sent);
    sent += bytes.length;
    if (sent > expected) break;
    await sink(bytes);
  }
  if (sent === expected) return;
  const gave = sent > expected ? "more" : `${sent}`;
  throw new InternalError(`${path}: ${quoted(tensor.name)} needs ${expected} bytes, but its data has ${gave}`);
}

function encodeOf(path: string, tensor: TensorToWrite, piece: HostData, sent: number): Uint8Array {
  try {
    return encode(tensor.dtype, piece);
  } catch (error) {
    if (!(error instanceof ValueFault)) throw error;
    const element = sent / storedDTypes[tensor.dtype].bytes + error.index;
    const what = `tensor ${quoted(tensor.name)}, element ${element}: ${error.message}`;
    throw fileError(path, what, "store it in a wider dtype");
  }
}

/** The length and CRC-32 of everything sent to a sink. */
export interface Fingerprint {
  bytes: number;
  crc32: number;
}

/** A sink that updates the fingerprint and passes the bytes on. */
export function fingerprinting(sink: ByteSink, fingerprint: Fingerprint): ByteSink {
  return async (bytes) => {
    fingerprint.bytes += bytes.length;
    fingerprint.crc32 = crc32(bytes, fingerprint.crc32);
    await sink(bytes);
  };
}
