/** The expressions of the kernel IR: scalars and short vectors in the registers of one thread. */
import type { DType } from "../ir/dtype.ts";

/** Elements of a vector; a value without a width is a scalar. */
export const widths = [2, 4, 8] as const;
export type Width = (typeof widths)[number];

/** The type of a register: `f32`, `f32x4`. Width 8 is f16 only: 16 bytes that can be moved but not computed with. */
export interface RegisterType {
  readonly dtype: DType;
  readonly width?: Width;
}

export const printRegisterType = ({ dtype, width }: RegisterType): string => (width ? `${dtype}x${width}` : dtype);

/** Integer and float arithmetic. i32 `div` and `mod` truncate as in WGSL; index algebra uses them for values >= 0. */
export type ArithOp = "add" | "sub" | "mul" | "div" | "mod" | "min" | "max";
export type CompareOp = "lt" | "le" | "eq" | "ne";
/** Functions that schedules need besides the ops of the registry. */
export const builtins = ["exp", "log"] as const;
export type Builtin = (typeof builtins)[number];

/** The inclusive bounds of an i32 expression; infinite if unknown. */
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

/** A name bound by a let, var or for, or a thread builtin (`lid`, `wid_x`). */
export interface Var extends RegisterType {
  readonly kind: "var";
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

export interface Arith extends RegisterType {
  readonly kind: "arith";
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

/** An elementwise op of the registry, by mnemonic; its op record has its WGSL and its semantics. */
export interface OpCall extends RegisterType {
  readonly kind: "op";
  readonly op: string;
  readonly args: readonly Expr[];
}

export interface BuiltinCall extends RegisterType {
  readonly kind: "builtin";
  readonly fn: Builtin;
  readonly args: readonly Expr[];
}

/** An element of a storage buffer, or a vector if the buffer has a width; the index counts accesses. */
export interface Load extends RegisterType {
  readonly kind: "load";
  readonly buffer: string;
  readonly index: Expr;
}

/** A vector of scalars, or a splat of one scalar. */
export interface Construct extends RegisterType {
  readonly kind: "construct";
  readonly width: Width;
  readonly parts: readonly Expr[];
}

/** One element of a vector. */
export interface Component {
  readonly kind: "component";
  readonly dtype: DType;
  readonly vector: Expr;
  readonly lane: number;
}

/** An element of a private or workgroup array, or a vector if the array has a width. */
export interface Element extends RegisterType {
  readonly kind: "element";
  readonly array: string;
  readonly index: Expr;
}

export interface Select extends RegisterType {
  readonly kind: "select";
  readonly condition: Expr;
  readonly yes: Expr;
  readonly no: Expr;
}

/** Operations across the lanes of a subgroup. `exclusive_add` sums the lanes before this one (an exclusive scan). */
export const subgroupOps = ["add", "max", "min", "exclusive_add", "broadcast", "shuffle", "shuffle_xor"] as const;
export type SubgroupOp = (typeof subgroupOps)[number];

/** A subgroup operation. Must be the whole value of a let, var or assignment, since all lanes execute it together. */
export interface SubgroupCall extends RegisterType {
  readonly kind: "subgroup";
  readonly op: SubgroupOp;
  readonly value: Expr;
  /** The lane to take from (broadcast: a constant), or the mask of shuffle_xor. */
  readonly lane?: Expr;
}

/** Whether a condition holds in any thread of the workgroup; synchronizes all its threads, like a barrier. */
export interface AnyThread {
  readonly kind: "any";
  readonly dtype: "bool";
  readonly value: Expr;
}

export interface Cast extends RegisterType {
  readonly kind: "cast";
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
  | Construct
  | Component
  | Element
  | Select
  | Cast
  | SubgroupCall
  | AnyThread;

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
/** A variable with the type and bounds of a value. */
export const variableFor = (name: string, value: Expr): Var => ({
  ...variable(name, value.dtype, rangeOf(value)),
  ...widthLike(value),
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
export const load = (buffer: string, dtype: DType, index: Expr, width?: Width): Load => ({
  kind: "load",
  dtype,
  ...(width && { width }),
  buffer,
  index,
});
export const element = (array: string, dtype: DType, index: Expr, width?: Width): Element => ({
  kind: "element",
  dtype,
  ...(width && { width }),
  array,
  index,
});
export const component = (vector: Expr, lane: number): Component => ({
  kind: "component",
  dtype: vector.dtype,
  vector,
  lane,
});
/** A vector of scalars of one dtype, or a splat of one scalar. */
export const construct = (width: Width, parts: readonly Expr[]): Construct => ({
  kind: "construct",
  dtype: parts[0]!.dtype,
  width,
  parts,
});
/** The width of a value; undefined for a scalar. */
export const widthOf = (e: Expr): Width | undefined => (e as RegisterType).width;

/** The `width` field of a result that has the width of an operand. */
const widthLike = (e: Expr | undefined) => (e && widthOf(e) ? { width: widthOf(e)! } : {});

export const opCall = (op: string, dtype: DType, args: readonly Expr[]): OpCall => ({
  kind: "op",
  dtype,
  ...widthLike(args[0]),
  op,
  args,
});
export const builtin = (fn: Builtin, ...args: readonly Expr[]): BuiltinCall => ({
  kind: "builtin",
  dtype: args[0]!.dtype,
  ...widthLike(args[0]),
  fn,
  args,
});
/** A cast; simplifies f16 -> f32 -> f16 to the f16 value. */
export function cast(a: Expr, dtype: DType): Expr {
  if (a.dtype === dtype) return a;
  if (dtype === "f16" && a.kind === "cast" && a.dtype === "f32" && a.a.dtype === "f16") return a.a;
  return { kind: "cast", dtype, ...widthLike(a), a };
}

export const subgroupCall = (op: SubgroupOp, value: Expr, lane?: Expr): SubgroupCall => ({
  kind: "subgroup",
  dtype: value.dtype,
  ...widthLike(value),
  op,
  value,
  ...(lane && { lane }),
});

/** workgroup_any; must be the whole value of a let, var or assignment. */
export const anyThread = (value: Expr): AnyThread => ({ kind: "any", dtype: "bool", value });

/** The value of one lane, in all lanes. */
export const subgroupBroadcast = (value: Expr, lane: number): SubgroupCall =>
  subgroupCall("broadcast", value, int(lane));

/** Float arithmetic as written: never simplified, so that rounding does not change. */
export const floatArith = (op: ArithOp, a: Expr, b: Expr): Arith => ({
  kind: "arith",
  dtype: a.dtype,
  ...widthLike(a),
  op,
  a,
  b,
  range: unbounded,
});

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
