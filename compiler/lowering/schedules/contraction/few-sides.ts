/** Contractions of a few rows with a long matrix: which side is which, and what schedules require of the sizes. */
import { dimExpr, type Env, typical } from "../../../fusion/index.ts";
import { boundsOf } from "../../../ir/dim.ts";
import { type Expr, int } from "../../../kernel/index.ts";
import { add, lt, min, sub } from "../../../kernel/simplify.ts";
import { unflatten } from "../../kernel.ts";
import type { Fit } from "../../schedule.ts";
import { type ContractionProblem, isContiguous, type Side } from "./problem.ts";

/** With more rows than this, the sums would take too many registers. */
const most = 8;

/**
 * The row counts that schedules are specialized for. If the number of rows is open until a run, only the least possible
 * (token-by-token decoding) and the largest of these are used.
 */
export const fewCounts: readonly number[] = Array.from({ length: most }, (_, i) => i + 1);

/** A problem whose sides are distinguished by length. */
export interface FewRowsProblem extends ContractionProblem {
  readonly few: Side;
  readonly long: Side;
}

/** Finds the side with few rows and the long side; a side of open size counts as potentially few. */
export function bySideLength(problem: ContractionProblem): FewRowsProblem {
  const { rows, columns } = problem;
  const isFewer = (a: Side, b: Side) =>
    typeof a.size === "number" ? !(typeof b.size === "number" ? b.size < a.size : a.size > most) : !isFew(b);
  return isFewer(rows, columns) ? { ...problem, few: rows, long: columns } : { ...problem, few: columns, long: rows };
}

const isFew = ({ size }: Side): boolean => typeof size === "number" && size <= most;

/** Whether neighbours in the long side's memory belong to different results, rather than being terms of one sum. */
export function isContiguousAcrossResults({ k, over, long }: FewRowsProblem): boolean {
  return long.axes.length > 0 && !isContiguous(k, over, long) && isContiguous(k, long.axes, long);
}

/** Whether a schedule specialized for `rows` rows fits these sides. */
export function fitsRows({ few, long }: FewRowsProblem, rows: number): Fit {
  if (typeof few.size === "number" && few.size > most) return `M and N both exceed ${most}`;
  if (typical(long.size) <= most) return `neither M nor N exceeds ${most}`;
  if (typeof few.size === "number") return few.size === rows || `there are ${few.size} rows, not ${rows}`;
  return rows === boundsOf(few.size).min || rows === most
    ? { assuming: [{ dim: few.size, max: rows }] }
    : `a symbolic number of rows has variants for ${boundsOf(few.size).min} and ${most} rows only`;
}

/** An index of a side, and whether it is within bounds. */
export interface Item {
  readonly inside: Expr;
  readonly env: Env;
}

/** `count` consecutive indices of a side; past its end the last one is repeated, and its results are not stored. */
export function itemsFrom(side: Side, from: Expr, count: number): Item[] {
  const size = dimExpr(side.size);
  return Array.from({ length: count }, (_, i) => {
    const exact = add(from, int(i));
    return { inside: lt(exact, size), env: unflatten(min(exact, sub(size, int(1))), side.axes) };
  });
}
