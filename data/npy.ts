/** Arrays in NumPy's .npy files. NEP 1 and numpy.lib.format: a header, then the elements in one block. */
import { stat } from "node:fs/promises";
import { FileError } from "../compiler/index.ts";
import { readFrom } from "./extents.ts";
import { orSystemFault, requirePath } from "./files.ts";

/** An array of numbers of any rank. */
export interface NumericArray {
  readonly shape: readonly number[];
  /** Elements between neighbours along each dimension. */
  readonly strides: readonly number[];
  readonly values: NumericValues;
  /** The file that it was read from. */
  readonly file: Uint8Array;
}

type NumericValues =
  | Float64Array
  | Float32Array
  | Float16Array
  | Int32Array
  | Int16Array
  | Int8Array
  | Uint32Array
  | Uint16Array
  | Uint8Array;

/** The elements of each NumPy type. 64-bit integers become doubles: what those do not hold fits no dtype either. */
const elements: Readonly<Record<string, (bytes: ArrayBuffer) => NumericValues>> = {
  b1: (bytes) => new Uint8Array(bytes),
  u1: (bytes) => new Uint8Array(bytes),
  i1: (bytes) => new Int8Array(bytes),
  u2: (bytes) => new Uint16Array(bytes),
  i2: (bytes) => new Int16Array(bytes),
  u4: (bytes) => new Uint32Array(bytes),
  i4: (bytes) => new Int32Array(bytes),
  u8: (bytes) => Float64Array.from(new BigUint64Array(bytes), Number),
  i8: (bytes) => Float64Array.from(new BigInt64Array(bytes), Number),
  f2: (bytes) => new Float16Array(bytes),
  f4: (bytes) => new Float32Array(bytes),
  f8: (bytes) => new Float64Array(bytes),
};

/** Whether a field of a record is an array. JSON has no typed arrays. */
export const isArray = (value: unknown): value is NumericArray =>
  typeof value === "object" && value !== null && ArrayBuffer.isView((value as Partial<NumericArray>).values);

export const isNpy = (name: string): boolean => name.toLowerCase().endsWith(".npy");

/** Larger files are refused, whatever their header claims. */
const mostBytes = 2 ** 30;

/** Reads a file. Throws FileError for one that is missing, too large, or malformed. */
export async function readNpy(path: string): Promise<NumericArray> {
  await requirePath(path, "file", "array");
  const { size } = await orSystemFault(stat(path), `array "${path}"`);
  if (size > mostBytes) throw new FileError(`array "${path}" is larger than ${mostBytes} bytes`);
  return parseNpy(await orSystemFault(readFrom(path, { offset: 0, size }), `array "${path}"`), path);
}

/**
 * Parses the bytes of a file. Throws FileError naming it for one that is malformed, or of another type than numbers.
 */
export function parseNpy(file: Uint8Array, name: string): NumericArray {
  const { header, start } = headerOf(file, name);
  const { type, size, shape, isFortran } = described(header, name);
  const count = shape.reduce((n, side) => n * side, 1);
  if (count * size !== file.length - start)
    throw refused(name, `${file.length - start} bytes are not ${count} elements of ${size} bytes`);
  const before = (i: number) => (isFortran ? shape.slice(0, i) : shape.slice(i + 1));
  return {
    shape,
    strides: shape.map((_, i) => before(i).reduce((n, side) => n * side, 1)),
    values: elements[type]!(new Uint8Array(file.subarray(start)).buffer), // a copy, which is aligned
    file,
  };
}

const refused = (name: string, why: string): FileError => new FileError(`"${name}" cannot be read as .npy: ${why}`);

/** NumPy's own limit. */
const longestHeader = 10_000;

const magic = [0x93, ...Buffer.from("NUMPY")];

/** The text of the header, and where the elements start. */
function headerOf(file: Uint8Array, name: string): { readonly header: string; readonly start: number } {
  if (!magic.every((byte, i) => file[i] === byte)) throw refused(name, "it does not begin as NumPy's files do");
  const version = file[6]!;
  const prefix = version === 1 ? 10 : 12;
  if (file.length < prefix) throw refused(name, "it ends in its header");
  if (!(version >= 1 && version <= 3)) throw refused(name, `version ${version} of the format is unknown`);
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const length = version === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > longestHeader) throw refused(name, `its header has ${length} bytes; NumPy reads ${longestHeader}`);
  const start = prefix + length;
  if (start > file.length) throw refused(name, "it ends in its header");
  return { header: Buffer.from(file.subarray(prefix, start)).toString("latin1"), start };
}

/** The header is a dictionary of Python, with these keys in any order. */
function described(header: string, name: string) {
  const [, order, type] = /['"]descr['"]\s*:\s*['"]([<>|=]?)([a-zA-Z]\d*)/.exec(header) ?? [];
  const [, fortran] = /['"]fortran_order['"]\s*:\s*(True|False)\b/.exec(header) ?? [];
  const [, sides] = /['"]shape['"]\s*:\s*\(([\d,\s]*)\)/.exec(header) ?? [];
  if (fortran === undefined || sides === undefined) throw refused(name, "its header is malformed");
  if (type === undefined || !Object.hasOwn(elements, type))
    throw refused(name, `its elements are ${type ?? "records"}; supported are ${Object.keys(elements).join(", ")}`);
  if (order === ">") throw refused(name, `its numbers are big-endian: save array.astype("<${type}")`);
  const shape = sides.split(",").flatMap((side) => (side.trim() === "" ? [] : [Number(side)]));
  if (!shape.every((side) => Number.isSafeInteger(side))) throw refused(name, "its header is malformed");
  return { type, size: Number(type.slice(1)), shape, isFortran: fortran === "True" };
}
