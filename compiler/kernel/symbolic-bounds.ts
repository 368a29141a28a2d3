/** Symbolic bounds of i32 values, whose upper ends are polynomials of the sizes of a run, and their arithmetic. */
import { addDims, boundsOf, type Dim, divideDims, mulDims, subDims } from "../ir/dim.ts";
import type { ArithOp } from "./expr.ts";

/** The bounds of an i32 value. */
export interface Bounds {
  readonly min: number;
  /** Upper bounds, each of which holds; empty if nothing is known. */
  readonly max: readonly Dim[];
  /** The value itself, if it is a polynomial of sizes and thus uniform over threads. */
  readonly exact?: Dim;
}

export const mostI32 = 2 ** 31 - 1;
export const leastI32 = -(2 ** 31);

/** Any i32. */
export const unknown: Bounds = { min: leastI32, max: [mostI32] };
export const exactly = (dim: Dim): Bounds => ({ min: boundsOf(dim).min, max: [dim], exact: dim });
export const between = (min: number, max: Dim): Bounds => ({ min, max: [max] });

/** The most upper bounds that are kept per value. */
const mostKept = 6;

export const highest = ({ max }: Bounds): number => Math.min(...max.map((d) => boundsOf(d).max));
export const atMost = (a: Dim, b: Dim): boolean => boundsOf(subDims(b, a)).min >= 0;

export function distinct(dims: readonly Dim[]): Dim[] {
  return [...new Set(dims)].slice(0, mostKept);
}

export const pairs = (a: Bounds, b: Bounds, f: (x: Dim, y: Dim) => Dim): Dim[] =>
  distinct(a.max.flatMap((x) => b.max.map((y) => f(x, y))));

/** Upper bounds of the larger of two values. */
export const joined = (a: Bounds, b: Bounds): Dim[] =>
  distinct([
    ...a.max.filter((x) => b.max.some((y) => atMost(y, x))),
    ...b.max.filter((y) => a.max.some((x) => atMost(x, y))),
  ]);

export const both = (a: Bounds, b: Bounds): Bounds => ({
  min: Math.max(a.min, b.min),
  max: distinct([...b.max, ...a.max]),
  ...(a.exact !== undefined && { exact: a.exact }),
});

export const ringOps: Partial<Record<ArithOp, (a: Dim, b: Dim) => Dim>> = { add: addDims, sub: subDims, mul: mulDims };

export function withExact(bounds: Bounds, a: Bounds, b: Bounds, f: (x: Dim, y: Dim) => Dim): Bounds {
  return a.exact === undefined || b.exact === undefined ? bounds : exactly(f(a.exact, b.exact));
}

export function difference(a: Bounds, b: Bounds): Bounds {
  const { exact: whole } = a;
  const least = whole === undefined ? [] : b.max.map((d) => boundsOf(subDims(whole, d)).min);
  const max = b.exact !== undefined ? a.max.map((d) => subDims(d, b.exact!)) : [];
  const plain = Number.isFinite(b.min) ? a.max.map((d) => subDims(d, b.min)) : [];
  return { min: Math.max(a.min - highest(b), ...least), max: distinct([...max, ...plain]) };
}

export function product(a: Bounds, b: Bounds): Bounds {
  if (a.min >= 0 && b.min >= 0) return { min: a.min * b.min, max: pairs(a, b, mulDims) };
  if (typeof b.exact !== "number") return unknown;
  const by = b.exact;
  if (by >= 0) return { min: a.min * by, max: a.max.map((d) => mulDims(d, by)) };
  return { min: highest(a) * by, max: Number.isFinite(a.min) ? [a.min * by] : [] };
}

/** Bounds of a / b for a >= 0 and b >= 1. */
export function quotient(a: Bounds, b: Bounds): Bounds {
  const by = b.exact;
  const whole = by === undefined ? [] : a.max.flatMap((d) => divideDims(addDims(d, 1), by) ?? []);
  const number = Math.floor(highest(a) / b.min);
  const max = [...whole.map((d) => subDims(d, 1)), ...(Number.isFinite(number) ? [number] : []), ...a.max];
  return { min: Math.floor(a.min / highest(b)), max: distinct(max) };
}

/** An upper bound of the counter in the last iteration if the step exceeds 1: it may be well below the loop's end. */
export function lastIteration(from: Bounds, to: Bounds, step: number): Dim[] {
  const [start, end] = [highest(from), highest(to) - 1];
  if (step === 1 || !(start <= mostI32) || !(end < mostI32) || from.min < 0 || end < from.min) return [];
  return [start + Math.floor((end - from.min) / step) * step];
}
