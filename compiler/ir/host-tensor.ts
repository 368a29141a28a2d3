/** Tensors in host memory: what data readers produce, sessions take and return, and checkpoints store. */
import { UsageError } from "../diagnostics/error.ts";
import type { DType } from "./dtype.ts";

/** An axis with its size in elements. */
export interface SizedAxis {
  readonly name: string;
  readonly size: number;
}

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
 * Builds a host tensor, checking that the data fills the axes exactly; throws RangeError when it does not, and UsageError
 * for what is no dtype, no axes or no data.
 */
export function hostTensor(dtype: DType, axes: readonly SizedAxis[], data: HostData | readonly number[]): HostTensor {
  requireParts(dtype, axes, data);
  const expected = elementCount(axes);
  if (data.length !== expected) {
    throw new RangeError(`${describeAxes(axes)} holds ${expected} elements, the data has ${data.length}`);
  }
  if (!Array.isArray(data)) return { dtype, axes, data: data as HostData };
  const copy = allocate(dtype, expected);
  copy.set(data);
  const changed = dtype === "i32" || dtype === "u32" ? data.findIndex((value, i) => value !== copy[i]) : -1;
  if (changed >= 0) throw new RangeError(`element ${changed} is ${data[changed]}, which ${dtype} does not hold`);
  return { dtype, axes, data: copy };
}

/** Callers may write JavaScript, which checks no types. */
function requireParts(dtype: unknown, axes: unknown, data: unknown): void {
  const isSized = (a: unknown) =>
    typeof (a as SizedAxis | null)?.name === "string" && Number.isSafeInteger((a as SizedAxis).size);
  if (!Object.hasOwn(constructors, String(dtype)))
    throw new UsageError(`a tensor's dtype is one of ${Object.keys(constructors).join(", ")}, not "${dtype}"`);
  if (!Array.isArray(axes) || !axes.every(isSized))
    throw new UsageError('a tensor\'s axes are a list such as [{ name: "row", size: 3 }], the last one contiguous');
  if (!Array.isArray(data) && !ArrayBuffer.isView(data))
    throw new UsageError("a tensor's data is a typed array or a list of numbers");
  if (!Array.isArray(data)) return;
  const wrong = data.findIndex((x) => typeof x !== "number" && typeof x !== "boolean");
  if (wrong >= 0)
    throw new UsageError(`element ${wrong} of a tensor's data is ${JSON.stringify(data[wrong])}, no number`);
}

const describeAxes = (axes: readonly SizedAxis[]) => `[${axes.map((a) => `${a.name}=${a.size}`).join(", ")}]`;
