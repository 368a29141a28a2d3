/** Evaluates expressions of one thread in plain JavaScript: the semantics of each operation of the kernel IR. */
import { InternalError } from "../diagnostics/error.ts";
import { castValue, type DType } from "../ir/dtype.ts";
import { opRecord } from "../ir/op.ts";
import { type Expr, widthOf } from "./expr.ts";
import { children } from "./expr-structure.ts";
import type { Watch } from "./races.ts";

export type Values = { [i: number]: number; readonly length: number };
export type KernelArrays = Readonly<Record<string, Values>>;
/** A scalar, or the elements of a vector. */
export type Value = number | readonly number[];

/** The state that expressions of a thread may read. */
export interface Thread {
  readonly values: Map<string, Value>;
  readonly arrays: KernelArrays;
  readonly buffers: KernelArrays;
  readonly sizes: Readonly<Record<string, number>>;
  /** Called for each access of an array. */
  readonly watch?: Watch;
}

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

const floatArith = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
  mod: (a: number, b: number) => a % b,
  min: Math.min,
  max: Math.max,
};
/** Division truncates; division by zero yields the dividend, and remainder by zero yields zero (WGSL, section 8.7). */
const intArith = {
  ...floatArith,
  mul: Math.imul,
  div: (a: number, b: number) => (b === 0 ? a : Math.trunc(a / b)),
  mod: (a: number, b: number) => (b === 0 ? 0 : a % b),
};
const compares = {
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
};
const builtinFunctions = { exp: Math.exp, log: Math.log };

/** Applies an operation to scalars; vectors apply it elementwise. */
function apply(e: Expr, args: readonly number[]): number {
  const [a, b] = [args[0]!, args[1]!];
  switch (e.kind) {
    case "arith":
      return roundTo((e.dtype === "i32" || e.dtype === "u32" ? intArith : floatArith)[e.op](a, b), e.dtype);
    case "compare":
      return compares[e.op](a, b) ? 1 : 0;
    case "logic":
      return e.op === "and" ? a & b : a | b;
    case "op":
      return roundTo(Number(opRecord(e.op).scalar!(...args)), e.dtype);
    case "builtin":
      return roundTo(builtinFunctions[e.fn](a), e.dtype);
    case "cast":
      return roundTo(castValue(a, e.a.dtype, e.dtype), e.dtype);
    default:
      throw new InternalError(`${e.kind} is not evaluated by one thread`);
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

/** The value of a scalar expression for one thread; throws InternalError on an out-of-bounds load. */
export function evaluate(e: Expr, t: Thread): number {
  switch (e.kind) {
    case "const":
      return roundTo(e.value, e.dtype);
    case "var":
      return t.values.get(e.name) as number;
    case "size": {
      const size = t.sizes[e.name];
      if (size === undefined) throw new InternalError(`the size $${e.name} has no value`);
      return size;
    }
    case "load":
      return fetch(t.buffers[e.buffer]!, evaluate(e.index, t), e.buffer);
    case "element": {
      const index = evaluate(e.index, t);
      t.watch?.(e.array, index, false);
      return fetch(t.arrays[e.array]!, index, e.array);
    }
    case "component":
      return elements(e.vector, t)[e.lane]!;
    case "select":
      return evaluate(e.condition, t) ? evaluate(e.yes, t) : evaluate(e.no, t);
    case "arith":
    case "compare":
    case "logic":
      return apply(e, [evaluate(e.a, t), evaluate(e.b, t)]);
    default:
      return apply(
        e,
        children(e).map((c) => evaluate(c, t)),
      );
  }
}

/** The elements of a vector for one thread. */
export function elements(e: Expr, t: Thread): readonly number[] {
  const width = widthOf(e)!;
  const some = (f: (lane: number) => number) => Array.from({ length: width }, (_, lane) => f(lane));
  switch (e.kind) {
    case "var":
      return t.values.get(e.name) as readonly number[];
    case "load":
    case "element": {
      const [values, name] = e.kind === "load" ? [t.buffers[e.buffer]!, e.buffer] : [t.arrays[e.array]!, e.array];
      const first = width * evaluate(e.index, t);
      return some((lane) => {
        if (e.kind === "element") t.watch?.(name, first + lane, false);
        return fetch(values, first + lane, name);
      });
    }
    case "construct": {
      const parts = e.parts.map((p) => evaluate(p, t));
      return some((lane) => parts[parts.length === 1 ? 0 : lane]!);
    }
    case "select":
      return elements(evaluate(e.condition, t) ? e.yes : e.no, t);
    default: {
      const args = children(e).map((c) => elements(c, t));
      return some((lane) =>
        apply(
          e,
          args.map((a) => a[lane]!),
        ),
      );
    }
  }
}

export const computed = (e: Expr, t: Thread): Value => (widthOf(e) ? elements(e, t) : evaluate(e, t));
