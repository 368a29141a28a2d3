/**
 * An operand's slab: a range of its side by a range of the steps of the sum, in memory that a workgroup shares. Its lines
 * are accesses of 16 bytes and keep the order that the operand has in memory: each is one element's steps, or one step's
 * elements. Threads bring it together, each some accesses.
 */
import { dimExpr, type Env, isMultipleOf, restrict } from "../../../fusion/index.ts";
import type { DType } from "../../../ir/dtype.ts";
import {
  type ArrayDecl,
  cast,
  construct,
  type Expr,
  float,
  int,
  keyOf,
  type Stmt,
  type Width,
} from "../../../kernel/index.ts";
import { add, div, lt, mod, mul, select } from "../../../kernel/simplify.ts";
import { unflatten } from "../../kernel.ts";
import { type ContractionProblem, clamped, type Side } from "./problem.ts";

export interface Slab {
  readonly array: ArrayDecl;
  readonly side: Side;
  /** The side's elements that a workgroup has, and the first of them. */
  readonly size: number;
  readonly first: Expr;
  /** Steps of the sum that it has. */
  readonly depth: number;
  /** Whether a line is the steps of one element: so they lie in memory. */
  readonly deep: boolean;
  /** Accesses from one line to the next. */
  readonly pitch: number;
}

/** Accesses that one slab takes; an array may hold several, one after another. */
export const slabLength = ({ deep, size, depth, pitch }: Slab): number => (deep ? size : depth) * pitch;

/** What one thread brings in one access. */
export interface Access {
  /** The elements, of the slab that begins at a step of the sum. */
  readonly value: (from: Expr) => Expr;
  /** Where they go in a slab. */
  readonly at: Expr;
  /** Whether the thread has this access at all. */
  readonly inside: Expr;
}

/** The accesses of one thread, such that neighbouring threads read neighbours in memory. */
export function accessesOf(p: ContractionProblem, slab: Slab, batchEnv: Env, lid: Expr, threads: number): Access[] {
  const { deep, size, depth, pitch, array } = slab;
  const width = array.width!;
  const perLine = (deep ? depth : size) / width;
  const count = perLine * (deep ? size : depth);
  return Array.from({ length: Math.ceil(count / threads) }, (_, turn): Access => {
    const n = add(lid, int(turn * threads));
    const [line, access] = [deep && perLine < 8 ? spreadLine(n, perLine) : div(n, int(perLine)), mod(n, int(perLine))];
    const along = mul(access, int(width));
    const value = (from: Expr) => elementsAt(p, slab, batchEnv, deep ? line : along, add(from, deep ? along : line));
    return { value, at: add(mul(line, int(pitch)), access), inside: lt(n, int(count)) };
  });
}

/**
 * The line of the `n`th access, where a line has `v` of them, fewer than 8. Eight threads store to as many banks at an odd
 * pitch if their lines are `v` apart, not neighbours; that each reads all of its line's accesses beside others stays.
 */
function spreadLine(n: Expr, v: number): Expr {
  const lane = mod(n, int(8 * v));
  const apart = mul(div(mod(lane, int(8)), int(v)), int(v));
  return add(mul(div(n, int(8 * v)), int(8)), add(div(lane, int(8)), apart));
}

/** Neighbouring elements of an operand, from an element of its side and a step of the sum on. */
function elementsAt(p: ContractionProblem, slab: Slab, batchEnv: Env, item: Expr, step: Expr): Expr {
  const { depth, over, k } = p;
  const { side, deep, first, array } = slab;
  const width = array.width!;
  const parts = Array.from({ length: width }, (_, u) => {
    const [i, s] = deep ? [item, add(step, int(u))] : [add(item, int(u)), step];
    const env = new Map([
      ...batchEnv,
      ...unflatten(clamped(add(first, i), side.size, deep ? 1 : width), side.axes),
      ...unflatten(clamped(s, depth, deep ? width : 1), over),
    ]);
    const value = converted(k.values.at(side.operand, restrict(env, side.operand)), array.dtype);
    // Past the end of the sum both operands are 0; past the end of a side results are not stored. Where steps come in
    // whole accesses, these are within the sum or past it as a whole.
    const last = deep && isMultipleOf(depth, width) ? step : s;
    return select(lt(last, dimExpr(depth)), value, float(0, array.dtype));
  });
  return together(width, parts);
}

/** A value as elements of a slab are: what a choice leaves as it lies in memory is not converted for the choice. */
function converted(e: Expr, dtype: DType): Expr {
  if (e.kind === "const" && e.value === 0) return float(0, dtype);
  if (e.kind === "select") return select(e.condition, converted(e.yes, dtype), converted(e.no, dtype));
  return cast(e, dtype);
}

/** Elements as a vector; where all are chosen by one condition, the vector is. */
function together(width: Width, parts: readonly Expr[]): Expr {
  const [first] = parts;
  if (first!.kind === "select") {
    const key = keyOf(first.condition);
    const chosen = parts.flatMap((p) => (p.kind === "select" && keyOf(p.condition) === key ? [p] : []));
    if (chosen.length === width) {
      const [yes, no] = [chosen.map((c) => c.yes), chosen.map((c) => c.no)];
      return select(first.condition, together(width, yes), together(width, no));
    }
  }
  return construct(width, parts.every((p) => p.kind === "const" && keyOf(p) === keyOf(first!)) ? [first!] : parts);
}

/** Stores what a thread brought to the slab that begins at `from` in its array. */
export const put = ({ array }: Slab, access: Access, value: Expr, from: Expr): Stmt[] => {
  const set: Stmt = { kind: "set", array: array.name, index: add(from, access.at), value };
  return access.inside.kind === "const" ? [set] : [{ kind: "if", condition: access.inside, body: [set] }];
};
