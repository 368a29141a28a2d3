/** Tensors in host memory: produced by data readers, passed to and from sessions, stored in checkpoints. */
import { UsageError } from "../diagnostics/error.ts";
import type { DType } from "./dtype.ts";

/** An axis with its size in elements. */
export interface SizedAxis {
  readonly name: string;
  readonly size: number;
}

/** The elements of a tensor in host memory. */
export type HostData = Float64Array | Float32Array | Float16Array | Int32Array | Uint32Array | Uint8Array;

/**
 * A dense row-major array with named axes: the last axis is contiguous.
 * `data` holds f32 as Float32Array, f16 as Float16Array, i32, u32 as their arrays and bool as Uint8Array of 0 and 1.
 * The reference interpreter also takes and returns Float64Array for f32 and f16.
 */
export interface HostTensor {
  readonly dtype: DType;
  readonly axes: readonly SizedAxis[];
  readonly data: HostData;
}

/** The number of elements that the axes span; 1 for a scalar. */
export const elementCount = (axes: readonly SizedAxis[]): number => axes.reduce((n, a) => n * a.size, 1);

const constructors = {
  f32: Float32Array,
  f16: Float16Array,
  i32: Int32Array,
  u32: Uint32Array,
  bool: Uint8Array,
} as const;

/** A zeroed array of `length` elements that stores `dtype`. */
export const allocate = (dtype: DType, length: number): HostData => new constructors[dtype](length);

/**
 * Builds a host tensor; data in another kind of array is converted. Throws RangeError when the number of elements does
 * not match the axes, and UsageError for an invalid dtype, axes or data, or an element that the dtype cannot hold.
 */
export function hostTensor(dtype: DType, axes: readonly SizedAxis[], data: HostData | readonly number[]): HostTensor {
  requireParts(dtype, axes, data);
  const expected = elementCount(axes);
  if (data.length !== expected) {
    throw new RangeError(`${describeAxes(axes)} holds ${expected} elements, the data has ${data.length}`);
  }
  const wrong = notHeld(dtype, data);
  if (wrong !== undefined) throw new UsageError(wrong);
  if (isStoredAs(dtype, data)) return { dtype, axes, data };
  const copy = allocate(dtype, expected);
  copy.set(data);
  return { dtype, axes, data: copy };
}

/** Whether the array is of a kind that `HostTensor` allows for the dtype. */
const isStoredAs = (dtype: DType, data: ArrayLike<unknown>): data is HostData =>
  data instanceof constructors[dtype] || (data instanceof Float64Array && (dtype === "f32" || dtype === "f16"));

/**
 * A message about the first element that the dtype cannot hold, undefined if there is none: executors would disagree on
 * a 2 among bools, a 1.5 among integers, or a value that is not a number.
 */
export function notHeld(dtype: DType, data: ArrayLike<unknown>): string | undefined {
  const stored = isStoredAs(dtype, data);
  if (stored && dtype !== "bool") return undefined;
  const held = stored ? isBit : holds[dtype];
  for (let i = 0; i < data.length; i++) {
    const value = data[i];
    if (!held(value)) return `element ${i} is ${fault(dtype, value)}`;
  }
  return undefined;
}

const isBit = (x: unknown): boolean => x === 0 || x === 1 || typeof x === "boolean";
const isNumber = (x: unknown): boolean => typeof x === "number" || typeof x === "boolean";
const holds: Readonly<Record<DType, (x: unknown) => boolean>> = {
  f32: isNumber,
  f16: isNumber,
  i32: (x) => isNumber(x) && Number(x) === Number(x) >> 0,
  u32: (x) => isNumber(x) && Number(x) === Number(x) >>> 0,
  bool: isBit,
};

/** The value and what is wrong with it. */
function fault(dtype: DType, x: unknown): string {
  if (typeof x === "bigint") return `${x}n, no number: convert by Number, as in Int32Array.from(data, Number)`;
  if (!isNumber(x)) return `${JSON.stringify(x)}, no number`;
  return `${x}, which ${dtype} does not hold${dtype === "bool" ? ": it is 0 or 1" : ""}`;
}

/** Validates the arguments at run time, for callers that are not type-checked. */
function requireParts(dtype: unknown, axes: unknown, data: unknown): void {
  const isSized = (a: unknown) =>
    typeof (a as SizedAxis | null)?.name === "string" && Number.isSafeInteger((a as SizedAxis).size);
  if (!Object.hasOwn(constructors, String(dtype)))
    throw new UsageError(`a tensor's dtype is one of ${Object.keys(constructors).join(", ")}, not "${dtype}"`);
  if (!Array.isArray(axes) || !axes.every(isSized))
    throw new UsageError('a tensor\'s axes are a list such as [{ name: "row", size: 3 }], the last one contiguous');
  if (!Array.isArray(data) && !ArrayBuffer.isView(data))
    throw new UsageError("a tensor's data is a typed array or a list of numbers");
}

const describeAxes = (axes: readonly SizedAxis[]) => `[${axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`;
