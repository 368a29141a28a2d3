/** Lazy reading of safetensors files: headers when opened, each tensor or a range of it on demand. */
import { fileSystem } from "#host";
import { allocate, type DType, type HostData, type HostTensor, spanned, UsageError } from "../../compiler/index.ts";
import { explainingFaults, fileError, formatBytes, quoted } from "../file-errors.ts";
import type { FileSystem, OpenFile } from "../file-system.ts";
import { nearestNames } from "../nearest-names.ts";
import type { StoredTensor } from "./header.ts";
import { copyAgain, describeShape, type Header, lengthBytes, longestHeader, parseHeader } from "./header.ts";
import { refuseOtherKinds } from "./other-kinds.ts";
import { locateWeights, readShardIndex, type ShardIndex } from "./shard-index.ts";
import {
  decodeInto,
  hasHostLayout,
  isReadableAs,
  requireLittleEndian,
  storedDTypes,
  ValueFault,
} from "./stored-dtype.ts";

export interface ReadOptions {
  /** The dtype to read as: stored floats as f32 or f16. Default: the nearest host dtype (BF16 and F64 as f32). */
  readonly dtype?: DType;
}

export interface ReadTensorOptions extends ReadOptions {
  /** Names for the axes, outermost first; by default d0, d1, ..., since files do not name axes. */
  readonly axes?: readonly string[];
}

/** Conversion buffer size: a multiple of every element size, small enough for the CPU cache. */
const pieceBytes = 1024 * 1024;

/**
 * The tensors of one model, in one file or in shards. Only the headers are kept in memory.
 * All methods throw FileError when the files cannot be read, or hold values that the requested dtype cannot represent.
 */
export class SafetensorsReader {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly #files: ReadonlyMap<string, OpenFile>;

  constructor(path: string, header: Header, files: ReadonlyMap<string, OpenFile>) {
    this.path = path;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
    this.#files = files;
  }

  /** Reads a whole tensor. */
  async readTensor(name: string, options: ReadTensorOptions = {}): Promise<HostTensor> {
    const tensor = this.tensor(name);
    const { shape } = tensor;
    const names = options.axes ?? shape.map((_, i) => `d${i}`);
    if (names.length !== shape.length) {
      throw new UsageError(`${quoted(name)} has ${shape.length} axes, but ${names.length} axis names were given`);
    }
    const dtype = options.dtype ?? storedDTypes[tensor.dtype].host;
    const axes = shape.map((size, i) => ({ name: names[i]!, size }));
    return { dtype, axes, data: await this.readRange(name, 0, tensor.elements, { dtype }) };
  }

  /** Reads `count` elements from element `start` on, both in row-major order. */
  async readRange(name: string, start: number, count: number, options: ReadOptions = {}): Promise<HostData> {
    const tensor = this.tensor(name);
    const dtype = options.dtype ?? storedDTypes[tensor.dtype].host;
    requireRange(tensor, start, count);
    requireReadable(tensor, dtype);
    const out = allocateFor(tensor, dtype, count);
    await spanned("files", name, () => this.#readInto(tensor, start, dtype, out), { bytes: out.byteLength });
    return out;
  }

  /** The stored bytes of a tensor, in pieces of at most 1 MiB, for copying it to another file. */
  async *storedBytes(name: string): AsyncGenerator<Uint8Array<ArrayBuffer>> {
    const tensor = this.tensor(name);
    for (let at = 0; at < tensor.byteLength; at += pieceBytes) {
      const piece = new Uint8Array(Math.min(pieceBytes, tensor.byteLength - at));
      await this.#readBytes(tensor, at, piece);
      yield piece;
    }
  }

  /** Fills an array with a tensor's stored bytes from `at` on; calls may overlap. */
  async readStored(name: string, at: number, into: Uint8Array<ArrayBuffer>): Promise<void> {
    const tensor = this.tensor(name);
    const size = storedDTypes[tensor.dtype].bytes;
    requireRange(tensor, at / size, into.length / size);
    await this.#readBytes(tensor, at, into);
  }

  /** Reads elements from element `start` on into an array, converting to its dtype; see `readRange`. */
  async readRangeInto(name: string, start: number, out: Float32Array | Float16Array): Promise<void> {
    const tensor = this.tensor(name);
    const dtype = out instanceof Float32Array ? "f32" : "f16";
    requireRange(tensor, start, out.length);
    requireReadable(tensor, dtype);
    await this.#readInto(tensor, start, dtype, out);
  }

  /** The entry of a tensor; throws FileError, with the nearest names, when there is none. */
  tensor(name: string): StoredTensor {
    const tensor = this.tensors.get(name);
    if (tensor !== undefined) return tensor;
    const nearest = nearestNames(name, this.tensors.keys()).map(quoted).join(", ");
    throw fileError(
      this.path,
      `it has no tensor ${quoted(name)}`,
      nearest === ""
        ? `it has ${this.tensors.size} tensors, none with a similar name`
        : `the nearest names are ${nearest}`,
    );
  }

  async dispose(): Promise<void> {
    await closeAll(this.#files);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #readInto(tensor: StoredTensor, start: number, dtype: DType, out: HostData): Promise<void> {
    const size = storedDTypes[tensor.dtype].bytes;
    if (hasHostLayout(tensor.dtype, dtype)) {
      const bytes = new Uint8Array(out.buffer as ArrayBuffer, out.byteOffset, out.byteLength);
      return await this.#readBytes(tensor, start * size, bytes);
    }
    const scratch = new Uint8Array(Math.min(pieceBytes, out.length * size));
    for (let done = 0; done < out.length; ) {
      const piece = scratch.subarray(0, (out.length - done) * size);
      await this.#readBytes(tensor, (start + done) * size, piece);
      decodePiece(tensor, dtype, piece, start, out, done);
      done += piece.length / size;
    }
  }

  async #readBytes(tensor: StoredTensor, at: number, out: Uint8Array): Promise<void> {
    const file = this.#files.get(tensor.file)!;
    await explainingFaults("read", tensor.file, () => readFully(file, tensor.file, tensor.byteOffset + at, out));
  }
}

/** Decodes a piece that begins at element `start + at` into `out` from `at` on. */
function decodePiece(
  tensor: StoredTensor,
  dtype: DType,
  piece: Uint8Array<ArrayBuffer>,
  start: number,
  out: HostData,
  at: number,
): void {
  try {
    decodeInto(tensor.dtype, dtype, piece, out, at);
  } catch (error) {
    if (!(error instanceof ValueFault)) throw error;
    const place = `tensor ${quoted(tensor.name)}, element ${start + at + error.index}`;
    const hint =
      dtype === "f16"
        ? "choose f32, whose range is larger"
        : "store the tensor in a dtype that heddle can read without loss";
    throw fileError(tensor.file, `${place}: ${error.message}`, hint);
  }
}

function requireRange(tensor: StoredTensor, start: number, count: number): void {
  const isRange = Number.isSafeInteger(start) && Number.isSafeInteger(count) && start >= 0 && count >= 0;
  if (isRange && start + count <= tensor.elements) return;
  throw new UsageError(
    `elements ${start} to ${start + count} of ${quoted(tensor.name)} were requested, but it has ${tensor.elements}`,
  );
}

function requireReadable({ name, dtype }: StoredTensor, as: DType): void {
  if (!isReadableAs(dtype, as))
    throw new UsageError(`${quoted(name)} is stored as ${dtype} and cannot be read as ${as}`);
}

function allocateFor(tensor: StoredTensor, dtype: DType, count: number): HostData {
  try {
    return allocate(dtype, count);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const what = `tensor ${quoted(tensor.name)} [${describeShape(tensor.shape)}] does not fit into one array in memory`;
    throw fileError(tensor.file, what, "read it in ranges");
  }
}

/** Reads exactly `out.length` bytes from `position` on. */
async function readFully(file: OpenFile, path: string, position: number, out: Uint8Array): Promise<void> {
  const largestRead = 64 * 1024 * 1024;
  for (let done = 0; done < out.length; ) {
    const { bytesRead } = await file.read(out, done, Math.min(out.length - done, largestRead), position + done);
    if (bytesRead === 0) throw fileError(path, "it became shorter while it was being read", copyAgain);
    done += bytesRead;
  }
}

/**
 * Opens a safetensors file, an index of shards (`*.index.json`), or a folder that holds either under its usual name,
 * and checks every header. Throws one FileError for the first fault; no file stays open then.
 */
export async function openSafetensors(path: string, options: { fs?: FileSystem } = {}): Promise<SafetensorsReader> {
  requireLittleEndian();
  const fs = options.fs ?? fileSystem;
  const location = await locateWeights(fs, path);
  const files = new Map<string, OpenFile>();
  try {
    const header = location.endsWith(".json")
      ? await openShards(await readShardIndex(fs, location), fs, files)
      : await openFile(fs, location, files);
    return new SafetensorsReader(path, header, files);
  } catch (error) {
    await closeAll(files);
    throw error;
  }
}

async function closeAll(files: ReadonlyMap<string, OpenFile>): Promise<void> {
  await Promise.all([...files.values()].map((file) => file.close()));
}

async function openFile(fs: FileSystem, path: string, files: Map<string, OpenFile>): Promise<Header> {
  return await explainingFaults("read", path, async () => {
    const info = await fs.stat(path);
    if (!info.isFile()) throw fileError(path, "it is not a regular file", "name a safetensors file or its index");
    const file = await fs.open(path, "r");
    files.set(path, file);
    return await readHeader(file, path);
  });
}

async function readHeader(file: OpenFile, path: string): Promise<Header> {
  const { size } = await file.stat();
  if (size < lengthBytes) {
    throw fileError(path, `it has ${size} bytes, but a safetensors file has at least ${lengthBytes}`, copyAgain);
  }
  const prefix = new Uint8Array(lengthBytes);
  await readFully(file, path, 0, prefix);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  const dataBytes = size - lengthBytes - Number(length);
  if (length === 0n || length > longestHeader || dataBytes < 0) refuseOtherKinds(path, prefix);
  if (length > longestHeader) {
    throw fileError(path, `its header claims ${length} bytes; at most ${longestHeader} are accepted`, copyAgain);
  }
  if (dataBytes < 0) {
    const what = `its header claims ${length} bytes, but the file ends ${-dataBytes} bytes before that`;
    throw fileError(path, what, copyAgain);
  }
  const bytes = new Uint8Array(Number(length));
  await readFully(file, path, lengthBytes, bytes);
  return parseHeader(path, bytes, dataBytes);
}

async function openShards(index: ShardIndex, fs: FileSystem, files: Map<string, OpenFile>): Promise<Header> {
  const tensors = new Map<string, StoredTensor>();
  const metadata = new Map<string, string>();
  for (const [shard, path] of index.shards) {
    const header = await openFile(fs, path, files);
    for (const [name, tensor] of header.tensors) {
      const other = tensors.get(name);
      if (other !== undefined) throw inTwoShards(index, name, other.file, path);
      tensors.set(name, tensor);
    }
    for (const [key, value] of header.metadata) metadata.set(key, value);
    requireShardHolds(index, shard, path, header);
  }
  return { tensors, metadata };
}

const inTwoShards = (index: ShardIndex, name: string, one: string, other: string) =>
  fileError(index.path, `tensor ${quoted(name)} is in two shards: ${one} and ${other}`, "remove it from one of them");

function requireShardHolds(index: ShardIndex, shard: string, path: string, header: Header): void {
  const absent = [...index.weightMap].filter(([name, file]) => file === shard && !header.tensors.has(name));
  if (absent.length === 0) return;
  const names = absent.slice(0, 5).map(([name]) => quoted(name));
  const list = `${names.join(", ")}${absent.length > 5 ? `, and ${absent.length - 5} more` : ""}`;
  throw fileError(path, `it lacks tensors that ${index.path} lists for it: ${list}`, copyAgain);
}

/** A tensor's stored form for messages: `"a.weight" BF16 [4, 8] (64 bytes)`. */
export const describeStored = ({ name, dtype, shape, byteLength }: StoredTensor): string =>
  `${quoted(name)} ${dtype} [${describeShape(shape)}] (${formatBytes(byteLength)})`;
