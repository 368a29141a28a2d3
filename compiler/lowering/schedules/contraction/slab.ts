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
  component,
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
import type { KeptRows } from "./row-parts.ts";

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
  /** What is kept of each of its elements. */
  readonly kept: KeptRows;
}

/** Accesses that one slab takes; an array may hold several, one after another. */
export const slabLength = ({ deep, size, depth, pitch }: Slab): number => (deep ? size : depth) * pitch;

/** What one thread brings at once. */
export interface Access {
  /** What it loads, for the slab that begins at a step of the sum. */
  readonly values: (from: Expr) => readonly Expr[];
  /** Stores that to the slab of a stage: its place in an array that holds several, one after another. */
  readonly put: (held: readonly Expr[], stage: Expr) => Stmt[];
}

/** The accesses of one thread, such that neighbouring threads read neighbours in memory. */
export function accessesOf(p: ContractionProblem, slab: Slab, batchEnv: Env, lid: Expr, threads: number): Access[] {
  const { deep, size, depth } = slab;
  const width = slab.array.width!;
  const perLine = (deep ? depth : size) / width;
  return share(perLine * (deep ? size : depth), lid, threads, (n, inside): Access => {
    const [line, access] = [deep && perLine < 8 ? spreadLine(n, perLine) : div(n, int(perLine)), mod(n, int(perLine))];
    const along = mul(access, int(width));
    return {
      values: (from) => [elementsAt(p, slab, batchEnv, deep ? line : along, add(from, deep ? along : line))],
      put: ([value], stage) => inside([set(slab, stage, line, access, value!)]),
    };
  });
}

/**
 * The accesses of one thread where lines are to be one step's elements, of which fours are neighbours. What lies the other
 * way in memory is brought in blocks of four by four, which are turned around in registers.
 */
export function turnedAccessesOf(
  p: ContractionProblem,
  slab: Slab,
  deep: boolean,
  batchEnv: Env,
  lid: Expr,
  threads: number,
): Access[] {
  if (!deep) return accessesOf(p, slab, batchEnv, lid, threads);
  const across = slab.depth / 4;
  return share((slab.size / 4) * across, lid, threads, (n, inside): Access => {
    // Eight threads store to as many banks, and read of each element what two accesses have: a sector of memory.
    const lane = mod(n, int(8));
    const rest = div(n, int(8));
    const steps = mul(add(mod(lane, int(2)), mul(mod(rest, int(across / 2)), int(2))), int(4));
    const four = add(div(lane, int(2)), mul(div(rest, int(across / 2)), int(4)));
    const lines = { ...slab, deep: true };
    return {
      values: (from) =>
        range(4).map((i) => elementsAt(p, lines, batchEnv, add(mul(four, int(4)), int(i)), add(from, steps))),
      put: (held, stage) =>
        inside(
          range(4).map((u) => {
            const turned = construct(
              4,
              held.map((h) => component(h, u)),
            );
            return set(slab, stage, add(steps, int(u)), four, turned);
          }),
        ),
    };
  });
}

/** Shares out so many accesses: those that a thread has, by their numbers, and a guard for what only some threads store. */
function share(
  count: number,
  lid: Expr,
  threads: number,
  access: (n: Expr, inside: (body: Stmt[]) => Stmt[]) => Access,
): Access[] {
  return range(Math.ceil(count / threads)).map((turn) => {
    const n = add(lid, int(turn * threads));
    const condition = lt(n, int(count));
    // Threads without one load what others do.
    if (condition.kind === "const") return access(n, (body) => body);
    return access(mod(n, int(count)), (body) => [{ kind: "if", condition, body }]);
  });
}

const set = (slab: Slab, stage: Expr, line: Expr, access: Expr, value: Expr): Stmt => ({
  kind: "set",
  array: slab.array.name,
  index: add(mul(stage, int(slabLength(slab))), add(mul(line, int(slab.pitch)), access)),
  value,
});

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
    slab.kept.bind(i, env);
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

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);
