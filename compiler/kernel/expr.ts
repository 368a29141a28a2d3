/** The expressions of the kernel IR: scalars computed by one thread. */
import type { DType } from "../ir/dtype.ts";

/** Integer and float arithmetic; `div` and `mod` of i32 truncate as WGSL does, and index algebra only meets them at values of 0 and above. */
export type ArithOp = "add" | "sub" | "mul" | "div" | "mod" | "min" | "max";
export type CompareOp = "lt" | "le" | "eq" | "ne";
/** Functions a schedule needs of its own, beside the ops of the registry. */
export type Builtin = "exp" | "log" | "fma";

/** The inclusive bounds of an i32 expression; infinite when nothing is known. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

export interface Const {
  readonly kind: "const";
  readonly dtype: DType;
  /** A bool is 0 or 1. */
  readonly value: number;
}

/** A name bound by a let, var, for or by the dispatch (`gid`, `lid`, `wid`). */
export interface Var {
  readonly kind: "var";
  readonly dtype: DType;
  readonly name: string;
  readonly range: Range;
}

/** A symbolic size, known when the kernel is dispatched. */
export interface Size {
  readonly kind: "size";
  readonly dtype: "i32";
  readonly name: string;
  readonly range: Range;
}

export interface Arith {
  readonly kind: "arith";
  readonly dtype: DType;
  readonly op: ArithOp;
  readonly a: Expr;
  readonly b: Expr;
  readonly range: Range;
}

export interface Compare {
  readonly kind: "compare";
  readonly dtype: "bool";
  readonly op: CompareOp;
  readonly a: Expr;
  readonly b: Expr;
}

export interface Logic {
  readonly kind: "logic";
  readonly dtype: "bool";
  readonly op: "and" | "or";
  readonly a: Expr;
  readonly b: Expr;
}

/** An elementwise op of the registry, by mnemonic; its WGSL and its meaning are in the record. */
export interface OpCall {
  readonly kind: "op";
  readonly dtype: DType;
  readonly op: string;
  readonly args: readonly Expr[];
}

export interface BuiltinCall {
  readonly kind: "builtin";
  readonly dtype: DType;
  readonly fn: Builtin;
  readonly args: readonly Expr[];
}

/** An element of a storage buffer. */
export interface Load {
  readonly kind: "load";
  readonly dtype: DType;
  readonly buffer: string;
  readonly index: Expr;
}

/** Four neighbouring elements of a storage buffer; the index counts fours. Read through `component`. */
export interface Load4 {
  readonly kind: "load4";
  readonly dtype: DType;
  readonly buffer: string;
  readonly index: Expr;
}

/** One of the four elements of a load, or of a let that holds one. */
export interface Component {
  readonly kind: "component";
  readonly dtype: DType;
  readonly vector: Expr;
  readonly lane: number;
}

/** An element of a private or workgroup array. */
export interface Element {
  readonly kind: "element";
  readonly dtype: DType;
  readonly array: string;
  readonly index: Expr;
}

export interface Select {
  readonly kind: "select";
  readonly dtype: DType;
  readonly condition: Expr;
  readonly yes: Expr;
  readonly no: Expr;
}

export interface Cast {
  readonly kind: "cast";
  readonly dtype: DType;
  readonly a: Expr;
}

export type Expr =
  | Const
  | Var
  | Size
  | Arith
  | Compare
  | Logic
  | OpCall
  | BuiltinCall
  | Load
  | Load4
  | Component
  | Element
  | Select
  | Cast;

export const unbounded: Range = { min: -Infinity, max: Infinity };

export const int = (value: number): Const => ({ kind: "const", dtype: "i32", value });
export const float = (value: number, dtype: DType = "f32"): Const => ({ kind: "const", dtype, value });
export const bool = (value: boolean): Const => ({ kind: "const", dtype: "bool", value: value ? 1 : 0 });
export const variable = (name: string, dtype: DType, range: Range = unbounded): Var => ({
  kind: "var",
  dtype,
  name,
  range,
});
/** An index variable that runs over 0 .. size - 1. */
export const indexVar = (name: string, size: number): Var =>
  variable(name, "i32", { min: 0, max: Math.max(0, size - 1) });
export const sizeSymbol = (name: string, bounds: Range = { min: 1, max: 2 ** 31 - 1 }): Size => ({
  kind: "size",
  dtype: "i32",
  name,
  range: { min: bounds.min, max: Math.min(bounds.max, 2 ** 31 - 1) },
});
export const load = (buffer: string, dtype: DType, index: Expr): Load => ({ kind: "load", dtype, buffer, index });
export const element = (array: string, dtype: DType, index: Expr): Element => ({
  kind: "element",
  dtype,
  array,
  index,
});
export const opCall = (op: string, dtype: DType, args: readonly Expr[]): OpCall => ({ kind: "op", dtype, op, args });
export const builtin = (fn: Builtin, ...args: readonly Expr[]): BuiltinCall => ({
  kind: "builtin",
  dtype: args[0]!.dtype,
  fn,
  args,
});
export const cast = (a: Expr, dtype: DType): Expr => (a.dtype === dtype ? a : { kind: "cast", dtype, a });

/** Arithmetic on floats as written: no algebra, so that rounding stays the model's. */
export const floatArith = (op: ArithOp, a: Expr, b: Expr): Arith => ({
  kind: "arith",
  dtype: a.dtype,
  op,
  a,
  b,
  range: unbounded,
});

/** The operands of an expression, in order. */
export function children(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "const":
    case "var":
    case "size":
      return [];
    case "arith":
    case "compare":
    case "logic":
      return [e.a, e.b];
    case "op":
    case "builtin":
      return e.args;
    case "load":
    case "load4":
    case "element":
      return [e.index];
    case "component":
      return [e.vector];
    case "select":
      return [e.condition, e.yes, e.no];
    case "cast":
      return [e.a];
  }
}

/** The same expression with other operands, given in the order of `children`. */
export function withChildren(e: Expr, c: readonly Expr[]): Expr {
  switch (e.kind) {
    case "const":
    case "var":
    case "size":
      return e;
    case "arith":
    case "compare":
    case "logic":
      return { ...e, a: c[0]!, b: c[1]! };
    case "op":
    case "builtin":
      return { ...e, args: c };
    case "load":
    case "load4":
    case "element":
      return { ...e, index: c[0]! };
    case "component":
      return { ...e, vector: c[0]! };
    case "select":
      return { ...e, condition: c[0]!, yes: c[1]!, no: c[2]! };
    case "cast":
      return { ...e, a: c[0]! };
  }
}

/** The bounds of an i32 expression. */
export function rangeOf(e: Expr): Range {
  switch (e.kind) {
    case "const":
      return { min: e.value, max: e.value };
    case "var":
    case "size":
    case "arith":
      return e.range;
    case "select": {
      const [a, b] = [rangeOf(e.yes), rangeOf(e.no)];
      return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
    }
    default:
      return unbounded;
  }
}

const keys = new WeakMap<Expr, string>();

/** A text that two expressions share exactly when they are structurally equal. */
export function keyOf(e: Expr): string {
  const known = keys.get(e);
  if (known !== undefined) return known;
  const key =
    head(e) + (e.kind === "const" || e.kind === "var" || e.kind === "size" ? "" : `(${children(e).map(keyOf)})`);
  keys.set(e, key);
  return key;
}

/** What an expression is, apart from its operands. */
export function head(e: Expr): string {
  switch (e.kind) {
    case "const":
      return `${e.value}:${e.dtype}`;
    case "var":
      return e.name;
    case "size":
      return `$${e.name}`;
    case "arith":
    case "compare":
    case "logic":
      return `${e.op}:${e.dtype}`;
    case "op":
      return `@${e.op}:${e.dtype}`;
    case "builtin":
      return `${e.fn}:${e.dtype}`;
    case "load":
    case "load4":
      return `${e.kind} ${e.buffer}`;
    case "component":
      return `lane ${e.lane}`;
    case "element":
      return `element ${e.array}`;
    case "select":
      return "select";
    case "cast":
      return `cast ${e.dtype}`;
  }
}
