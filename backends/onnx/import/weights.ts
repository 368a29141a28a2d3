/** Tensors of a file, with data read on demand. */
import {
  FileError,
  type HostTensor,
  hostTensor,
  type Node,
  type SizedAxis,
  UnsupportedError,
} from "../../../compiler/index.ts";
import { bytesFor, type ElementType, elementType, held, readElements } from "./elements.ts";
import { shownName } from "./file-names.ts";
import type { TensorMessage } from "./messages.ts";
import { isNumbers, type Known, known, type Weight } from "./values.ts";

/** The location of a tensor's external data. */
export interface ExternalPlace {
  /** Path relative to the model's folder. */
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/** Reads external data; the reader must reject locations outside the model's folder. */
export type ExternalReader = (place: ExternalPlace) => Promise<Uint8Array>;

/** A parameter of an imported graph. */
export interface ImportedParameter {
  readonly node: Node;
  readonly read: () => Promise<HostTensor>;
}

export const parameterOf = (node: Node, weight: Weight): ImportedParameter => ({
  node,
  read: async () => hostTensor("f32", node.type.axes as readonly SizedAxis[], Float32Array.from(await weight.read())),
});

/** A tensor of the file: its type and shape, and lazily its elements. */
export interface FileTensor {
  readonly type: ElementType;
  readonly shape: readonly number[];
  readonly count: number;
  /** Undefined for external data. */
  readonly values: (() => ArrayLike<number>) | undefined;
  readonly read: () => Promise<ArrayLike<number>>;
  /** The bytes of its first elements as they are stored; undefined where they are not stored as bytes. */
  readonly bytes: ((count: number) => Promise<Uint8Array>) | undefined;
}

/** Limit on the elements of a tensor: more than any JavaScript array holds. */
const most = 2 ** 40;

export function fileTensor(message: TensorMessage, external: ExternalReader | undefined): FileTensor {
  const where = `the tensor "${shownName(message.name)}"`;
  const type = elementType(message.dataType, where);
  const shape = message.dims;
  const wrongSize = shape.find((d) => !Number.isSafeInteger(d) || d < 0);
  if (wrongSize !== undefined) throw new FileError(`${where} has a dimension of ${wrongSize}`);
  if (shape.length > 64) throw new FileError(`${where} has ${shape.length} dimensions`);
  const count = shape.reduce((n, d) => n * d, 1);
  if (!(count < most)) throw new FileError(`${where} declares ${count} elements, which is too many`);
  const base = { type, shape, count };
  if (message.dataLocation === 1) {
    const place = externalPlace(message, where, bytesFor(type, count));
    const bytes = async (first: number) => {
      if (!external)
        throw new FileError(
          `${where} is stored in "${shownName(place.location)}", but only the bytes of the model were given`,
        );
      return external({ ...place, length: bytesFor(type, first) });
    };
    return {
      ...base,
      values: undefined,
      read: async () => readElements(type, await bytes(count), count, where),
      bytes,
    };
  }
  const values = () => ownElements(message, type, count, where);
  const { rawData } = message;
  const bytes = rawData && (async (first: number) => rawData.subarray(0, bytesFor(type, first)));
  return { ...base, values, read: async () => values(), bytes };
}

function externalPlace(message: TensorMessage, where: string, expected: number): ExternalPlace {
  const entry = (key: string) => message.externalData.find((e) => e.key === key)?.value;
  const location = entry("location");
  if (location === undefined) throw new FileError(`${where} is stored in another file that it does not name`);
  const number = (key: string, otherwise: number) => {
    const text = entry(key);
    const value = text === undefined ? otherwise : Number(text);
    if (Number.isSafeInteger(value) && value >= 0 && text !== "") return value;
    throw new FileError(`${where}: the ${key} of its data is "${shownName(text!)}"`);
  };
  const length = number("length", expected);
  if (length !== expected) throw new FileError(`${where} needs ${expected} bytes, but its data has ${length}`);
  return { location, offset: number("offset", 0), length };
}

/** Embedded elements: raw_data, or the typed field of their type. */
function ownElements(m: TensorMessage, type: ElementType, count: number, where: string): ArrayLike<number> {
  if (m.rawData) return readElements(type, m.rawData, count, where);
  const list = listOf(m, type);
  const perEntry = type.bits < 8 ? 8 / type.bits : 1;
  if (list.length !== Math.ceil(count / perEntry))
    throw new FileError(`${where} needs ${count} elements, but its data has ${list.length * perEntry}`);
  if (perEntry > 1) return readElements(type, Uint8Array.from(list), count, where);
  if (type.name === "float16" || type.name === "bfloat16")
    return readElements(type, new Uint8Array(Uint16Array.from(list).buffer), count, where);
  return Float64Array.from(list, (v) => held(type, v));
}

function listOf(m: TensorMessage, { name }: ElementType): readonly number[] {
  if (name === "float") return m.floatData;
  if (name === "double") return m.doubleData;
  if (name === "int64") return m.int64Data;
  if (name === "uint64" || name === "uint32") return m.uint64Data;
  return m.int32Data;
}

/** A tensor as a constant. */
export const knownTensor = (t: FileTensor, values: ArrayLike<number>): Known => known(t.type, t.shape, values);

/** The numbers of a constant. Throws UnsupportedError if one of them is a symbolic size. */
export function numbersOf(value: Known, what: string): number[] {
  if (isNumbers(value.values)) return Array.from(value.values);
  const open = Array.from(value.values).find((v) => typeof v !== "number");
  throw new UnsupportedError(`${what} must be a number, got ${open}: set the sizes when importing`);
}
