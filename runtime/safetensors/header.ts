/** The header of a safetensors file: parsing untrusted headers, and writing them. */
import { fileError, quoted } from "../file-errors.ts";
import { isStoredDType, type StoredDType, storedDTypes } from "./stored-dtype.ts";
import { JsonFault, type JsonValue, parseStrictJson } from "./strict-json.ts";

/** Where a tensor lies in a file. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
  /** Number of elements: the product of the shape. */
  readonly elements: number;
  readonly byteLength: number;
  /** The file that holds it, and the offset in that file. */
  readonly file: string;
  readonly byteOffset: number;
}

export interface Header {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: ReadonlyMap<string, string>;
}

/** The same limit as in the reference implementation. */
export const longestHeader = 100_000_000;
/** The header is preceded by its length, as an unsigned 64-bit integer. */
export const lengthBytes = 8;

export const copyAgain = "the file is damaged or malicious; copy or download it again";
const storeAsFloat = "store it as F32, F16 or BF16, or leave it out if the model does not need it";

const metadataKey = "__metadata__";

/**
 * Parses and checks a header: its JSON, each tensor's dtype, shape and byte range, and that the ranges cover the data
 * without overlaps or gaps. `dataBytes` is the number of bytes after the header. Throws FileError.
 * Source: the format's description and reference reader, github.com/huggingface/safetensors.
 */
export function parseHeader(path: string, bytes: Uint8Array, dataBytes: number): Header {
  const fault: Fault = (what, hint = copyAgain) => fileError(path, what, hint);
  const entries = parseHeaderJson(bytes, fault);
  const metadata = parseMetadata(entries.get(metadataKey), fault);
  entries.delete(metadataKey);

  const dataStart = lengthBytes + bytes.length;
  const tensors = new Map<string, StoredTensor>();
  for (const [name, entry] of entries) {
    const tensorFault: Fault = (what, hint) => fault(`tensor ${quoted(name)}: ${what}`, hint);
    tensors.set(name, parseTensor(path, name, entry, dataStart, dataBytes, tensorFault));
  }
  checkCoverage([...tensors.values()], dataStart, dataBytes, fault);
  return { tensors, metadata };
}

type Fault = (what: string, hint?: string) => Error;

function parseHeaderJson(bytes: Uint8Array, fault: Fault): Map<string, JsonValue> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw fault("its header is not UTF-8 text");
  }
  const header = parseJsonFile(text, (what) => fault(`its header is not valid JSON: ${what}`));
  if (!(header instanceof Map)) throw fault("its header is not a JSON object");
  return header;
}

/** Parses JSON, reporting the position of an error with the text around it. */
export function parseJsonFile(text: string, fault: Fault): JsonValue {
  try {
    return parseStrictJson(text);
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error;
    const excerpt = quoted(text.slice(error.at, error.at + 24));
    throw fault(`${error.message} (character ${error.at}${excerpt === '""' ? ", its end" : `, at ${excerpt}`})`);
  }
}

function parseMetadata(entry: JsonValue | undefined, fault: Fault): ReadonlyMap<string, string> {
  const metadata = new Map<string, string>();
  if (entry === undefined) return metadata;
  if (!(entry instanceof Map)) throw fault(`its ${metadataKey} is not a JSON object`);
  for (const [key, value] of entry) {
    if (typeof value !== "string") throw fault(`its ${metadataKey} entry ${quoted(key)} is not a string`);
    metadata.set(key, value);
  }
  return metadata;
}

function parseTensor(
  file: string,
  name: string,
  entry: JsonValue,
  dataStart: number,
  dataBytes: number,
  fault: Fault,
): StoredTensor {
  if (!(entry instanceof Map)) throw fault("its entry is not a JSON object");
  const dtype = parseDType(entry.get("dtype"), fault);
  const shape = parseIntegers(entry.get("shape"), "shape", fault);
  const offsets = parseIntegers(entry.get("data_offsets"), "data_offsets", fault);
  const unknown = [...entry.keys()].find((key) => !["dtype", "shape", "data_offsets"].includes(key));
  if (unknown !== undefined) throw fault(`unknown key ${quoted(unknown)}`);
  if (offsets.length !== 2) throw fault(`data_offsets must have 2 numbers, got ${offsets.length}`);
  const [begin, end] = offsets as [number, number];
  if (end < begin) throw fault(`its data ends at byte ${end}, before it begins at ${begin}`);
  if (end > dataBytes)
    throw fault(`its data ends at byte ${end}, but the file is cut off after ${dataBytes} bytes of data`);

  const elements = shape.reduce((product, size) => multiply(product, size, fault), 1);
  const byteLength = multiply(elements, storedDTypes[dtype].bytes, fault);
  if (byteLength !== end - begin) {
    const needs = `${dtype} of shape [${describeShape(shape)}] needs ${byteLength} bytes`;
    throw fault(`${needs}, but its offsets span ${end - begin}`);
  }
  return { name, dtype, shape, elements, byteLength, file, byteOffset: dataStart + begin };
}

/** The sizes of a shape, truncated after the first dozen. */
export const describeShape = (shape: readonly number[]): string =>
  shape.length > 12 ? `${shape.slice(0, 12).join(", ")}, …` : shape.join(", ");

function multiply(a: number, b: number, fault: Fault): number {
  const product = a * b;
  if (!Number.isSafeInteger(product)) throw fault("its shape has more elements than any file can hold");
  return product;
}

function parseDType(value: JsonValue | undefined, fault: Fault): StoredDType {
  if (typeof value !== "string") throw fault("its dtype is missing or not a string");
  if (isStoredDType(value)) return value;
  throw fault(
    `its dtype ${quoted(value)} is not supported (expected one of ${Object.keys(storedDTypes).join(", ")})`,
    storeAsFloat,
  );
}

function parseIntegers(value: JsonValue | undefined, key: string, fault: Fault): number[] {
  if (!Array.isArray(value)) throw fault(`its ${key} is missing or not a list`);
  const isSize = (n: JsonValue): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!value.every(isSize)) throw fault(`its ${key} contains something other than integers from 0 to 2^53`);
  return value;
}

function checkCoverage(tensors: StoredTensor[], dataStart: number, dataBytes: number, fault: Fault): void {
  const end = (t: StoredTensor) => t.byteOffset + t.byteLength;
  tensors.sort((a, b) => a.byteOffset - b.byteOffset || end(a) - end(b));
  let covered = dataStart;
  let before = "the header";
  for (const tensor of tensors) {
    const gap = tensor.byteOffset - covered;
    if (gap < 0) throw fault(`the data of tensor ${quoted(tensor.name)} overlaps that of ${before} by ${-gap} bytes`);
    if (gap > 0) throw fault(`${gap} bytes between ${before} and tensor ${quoted(tensor.name)} belong to no tensor`);
    covered = end(tensor);
    before = `tensor ${quoted(tensor.name)}`;
  }
  const rest = dataStart + dataBytes - covered;
  if (rest > 0) throw fault(`the last ${rest} bytes belong to no tensor`);
}

/** Header fields of a tensor to be written. */
export interface TensorLayout {
  readonly name: string;
  readonly dtype: StoredDType;
  readonly shape: readonly number[];
}

export const byteLengthOf = ({ dtype, shape }: TensorLayout): number =>
  shape.reduce((n, size) => n * size, storedDTypes[dtype].bytes);

/**
 * The bytes of a header, including the length prefix, for tensors whose data follows in this order without gaps. Padded
 * with spaces so that the data starts at a multiple of 8.
 */
export function formatHeader(tensors: readonly TensorLayout[], metadata: ReadonlyMap<string, string>): Uint8Array {
  const entries: string[] = [];
  if (metadata.size > 0) entries.push(`"${metadataKey}":${JSON.stringify(Object.fromEntries(metadata))}`);
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + byteLengthOf(tensor);
    const entry = { dtype: tensor.dtype, shape: tensor.shape, data_offsets: [offset, end] };
    entries.push(`${JSON.stringify(tensor.name)}:${JSON.stringify(entry)}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(lengthBytes + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, lengthBytes);
  return bytes;
}

/** Whether a tensor may have this name: the format reserves one, and names are UTF-8. */
export const isTensorName = (name: string): boolean => name !== metadataKey && name.isWellFormed();
