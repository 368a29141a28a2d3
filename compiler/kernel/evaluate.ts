/** What operations and memory accesses of the kernel IR compute, in plain JavaScript. */
import { InternalError } from "../diagnostics/error.ts";
import { castValue, type DType } from "../ir/dtype.ts";
import { opRecord } from "../ir/op.ts";
import type { ArithOp, CompareOp, Expr, Logic } from "./expr.ts";

export type Values = { [i: number]: number; readonly length: number };
export type KernelArrays = Readonly<Record<string, Values>>;
/** A scalar, or the elements of a vector. */
export type Value = number | readonly number[];

/** The value as a register of the dtype holds it: floats are rounded, integers wrap around. */
export function roundTo(v: number, dtype: DType): number {
  switch (dtype) {
    case "f32":
      return Math.fround(v);
    case "f16":
      return Math.f16round(v);
    case "i32":
      return v | 0;
    case "u32":
      return v >>> 0;
    case "bool":
      return v === 0 ? 0 : 1;
  }
}

type Binary = (a: number, b: number) => number;

const floatArith: Readonly<Record<ArithOp, Binary>> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  mod: (a, b) => a % b,
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
};
/** Division truncates; division by zero yields the dividend, and remainder by zero yields zero (WGSL, section 8.7). */
const intArith: Readonly<Record<ArithOp, Binary>> = {
  ...floatArith,
  mul: (a, b) => Math.imul(a, b),
  div: (a, b) => (b === 0 ? a : Math.trunc(a / b)),
  mod: (a, b) => (b === 0 ? 0 : a % b),
};
const compares: Readonly<Record<CompareOp, Binary>> = {
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  eq: (a, b) => (a === b ? 1 : 0),
  ne: (a, b) => (a !== b ? 1 : 0),
};
const logics: Readonly<Record<Logic["op"], Binary>> = { and: (a, b) => a & b, or: (a, b) => a | b };
const builtinFunctions = { exp: Math.exp, log: Math.log };

/** An operation that a thread computes from its operands alone. */
export type Computation = Extract<Expr, { kind: "arith" | "compare" | "logic" | "op" | "builtin" | "cast" }>;

/** The function of an operation on scalars; vectors apply it elementwise. */
export function functionOf(e: Computation): (...operands: number[]) => number {
  switch (e.kind) {
    case "arith":
      return rounded((e.dtype === "i32" || e.dtype === "u32" ? intArith : floatArith)[e.op], e.dtype);
    case "compare":
      return compares[e.op];
    case "logic":
      return logics[e.op];
    case "op": {
      const { scalar } = opRecord(e.op);
      return (...operands) => roundTo(Number(scalar!(...operands)), e.dtype);
    }
    case "builtin": {
      const f = builtinFunctions[e.fn];
      return (a) => roundTo(f(a!), e.dtype);
    }
    case "cast": {
      const from = e.a.dtype;
      return (a) => roundTo(castValue(a!, from, e.dtype), e.dtype);
    }
  }
}

/** The common dtypes have a function of their own: this is most of what interpreting a kernel does. */
function rounded(f: (a: number, b: number) => number, dtype: DType): (a: number, b: number) => number {
  switch (dtype) {
    case "f32":
      return (a, b) => Math.fround(f(a, b));
    case "i32":
      return (a, b) => f(a, b) | 0;
    default:
      return (a, b) => roundTo(f(a, b), dtype);
  }
}

/** Reads an element; throws InternalError if out of bounds. */
export function fetch(values: Values, index: number, what: string): number {
  if (index < 0 || index >= values.length)
    throw new InternalError(`${what}[${index}] is outside 0 .. ${values.length - 1}`);
  return values[index]!;
}

/** Writes an element; throws InternalError if out of bounds. */
export function write(values: Values, index: number, value: number, what: string): void {
  fetch(values, index, `store to ${what}`);
  values[index] = value;
}
