/**
 * A slab: the part of an operand (a range of its side by a range of steps of the sum) staged in workgroup memory. Its
 * lines consist of 16-byte accesses and keep the operand's order in memory: a line is either one element's steps, or
 * one step's elements. The threads stage it together.
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
import { range } from "../../range.ts";
import { type ContractionProblem, clamped, type Side } from "./problem.ts";
import type { KeptRows } from "./row-parts.ts";

export interface Slab {
  readonly array: ArrayDecl;
  readonly side: Side;
  /** How many elements of the side the workgroup covers, and the first of them. */
  readonly size: number;
  readonly first: Expr;
  /** Steps of the sum that it covers. */
  readonly depth: number;
  /** Whether a line holds the steps of one element, because they are contiguous in memory. */
  readonly deep: boolean;
  /** Distance between lines, in accesses. */
  readonly pitch: number;
  /** Prologue results kept for each of its elements. */
  readonly kept: KeptRows;
}

/** Size of one slab in accesses; an array may hold several, one after another. */
export const slabLength = ({ deep, size, depth, pitch }: Slab): number => (deep ? size : depth) * pitch;

/** What one thread stages at once. */
export interface Access {
  /** The values to load for the slab that begins at step `from` of the sum. */
  readonly values: (from: Expr) => readonly Expr[];
  /** Writes loaded values to the slab of a stage: one of several slabs, one after another in the array. */
  readonly put: (held: readonly Expr[], stage: Expr) => Stmt[];
}

/** The accesses of one thread, coalesced: adjacent threads read adjacent memory. */
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
 * The accesses of one thread if lines must hold one step's elements, in vec4. If the operand is contiguous in the other
 * direction, it is loaded in 4 by 4 blocks that are transposed in registers.
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
    // Eight threads write to eight different banks, and each element is read in pairs of accesses: one memory sector.
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

/** Distributes `count` accesses: those of a thread, with a guard for the store if only some threads have one. */
function share(
  count: number,
  lid: Expr,
  threads: number,
  access: (n: Expr, inside: (body: Stmt[]) => Stmt[]) => Access,
): Access[] {
  return range(Math.ceil(count / threads)).map((turn) => {
    const n = add(lid, int(turn * threads));
    const condition = lt(n, int(count));
    // Surplus threads repeat a load of others.
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
 * The line of the `n`th access, where a line has `v` of them, fewer than 8. With an odd pitch, eight threads write to
 * eight different banks if their lines are `v` apart rather than adjacent; all accesses of a line still belong to
 * nearby threads.
 */
function spreadLine(n: Expr, v: number): Expr {
  const lane = mod(n, int(8 * v));
  const apart = mul(div(mod(lane, int(8)), int(v)), int(v));
  return add(mul(div(n, int(8 * v)), int(8)), add(div(lane, int(8)), apart));
}

/** Adjacent elements of an operand, starting at an element of its side and a step of the sum. */
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
    // Past the end of the sum both operands are 0; past the end of a side, results are not stored. If whole accesses
    // divide the sum, each is inside or outside as a whole.
    const last = deep && isMultipleOf(depth, width) ? step : s;
    return select(lt(last, dimExpr(depth)), value, float(0, array.dtype));
  });
  return together(width, parts);
}

/** Converts a value to the slab's dtype. The conversion is pushed into selects, so that unconverted loads need none. */
function converted(e: Expr, dtype: DType): Expr {
  if (e.kind === "const" && e.value === 0) return float(0, dtype);
  if (e.kind === "select") return select(e.condition, converted(e.yes, dtype), converted(e.no, dtype));
  return cast(e, dtype);
}

/** Elements as a vector; if all are selected by the same condition, a select of vectors. */
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
