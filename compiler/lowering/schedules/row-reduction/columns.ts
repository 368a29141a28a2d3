/** Row reductions whose rows are neighbours in memory, such as column sums of a matrix: loads run across the rows. */
import { dimExpr, isMultipleOf, typical } from "../../../fusion/index.ts";
import { type ArrayDecl, int } from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { noSharing } from "../../facts.ts";
import { ceilDiv, type KernelCode } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import { workgroupReduction } from "./combine.ts";
import { elementsOfLoad, isContiguousAlong, type RowProblem, whyTooMuchStorage } from "./problem.ts";
import { type Line, lowerRows } from "./row-lowering.ts";

export interface Columns extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Threads side by side across the rows; the others split the length of the same rows. */
  readonly across: number;
  /** Neighbouring rows per thread, loaded at once. */
  readonly elements: number;
}

/** Enough workgroups to keep a GPU busy. */
const manyWorkgroups = 512;
/** Loads in flight per thread. */
const unroll = 4;

export const columns: Schedule<RowProblem, Columns> = {
  name: "columns",
  summary:
    "each thread reduces adjacent rows that are contiguous in memory, as in column sums; threads split the row length",
  settings: (facts) =>
    facts.software
      ? noSharing
      : [8, 16, 32, 64].flatMap((across) => [8, 4, 1].map((elements) => ({ threads: 256, across, elements }))),
  fits: (problem, { threads, across, elements }, facts) => {
    const { k, rows, width } = problem;
    const down = threads / across;
    const full = whyTooMuchStorage(problem, threads, elements, facts);
    if (full) return full;
    if (elements > 1 && !elementsOfLoad(problem).includes(elements))
      return `no tensor has ${elements} elements per 16-byte load`;
    if (!isMultipleOf(rows, elements)) return `the number of rows, ${rows}, is not a multiple of ${elements}`;
    if (across > 8 && typical(rows) < across * elements)
      return `${rows} rows are fewer than the ${across * elements} of a workgroup`;
    if (typical(width) < down) return `a row has ${width} elements, fewer than the ${down} threads that would split it`;
    return isContiguousAlong(k, k.fused.group!.rows) || "adjacent rows are not contiguous in memory";
  },
  // Prefers wide loads; then long contiguous lines, as long as there are enough workgroups.
  cost: ({ rows }, { across, elements }) => {
    const workgroups = typical(rows) / (across * elements);
    return (workgroups >= manyWorkgroups ? 1 / across : across) / elements;
  },
  lower: lowerColumns,
};

export function lowerColumns({ k, rows, width }: RowProblem, { threads, across, elements }: Columns): KernelCode {
  const arrays: ArrayDecl[] = [];
  const [count, down] = [dimExpr(rows), threads / across];
  const code = k.perWorkgroup(ceilDiv(count, across * elements), threads, (workgroup, lid) => {
    const [x, y] = [mod(lid, int(across)), div(lid, int(across))];
    const piece = add(mul(workgroup, int(across)), x);
    const pieces = ceilDiv(count, elements);
    const inside = lt(piece, pieces);
    const isWhole = inside.kind === "const";
    // All threads meet at barriers, those past the last rows with the last rows.
    const from = mul(isWhole ? piece : min(piece, sub(pieces, int(1))), int(elements));
    const lines = Array.from({ length: elements }, (_, u): Line => {
      return { row: add(from, int(u)), ...(!isWhole && { inside }) };
    });
    const combine = workgroupReduction(k, { threads, lid, lane: y, lanes: down, apart: across }, arrays);
    const isLong = typical(width) >= 2 * unroll * down;
    return lowerRows(k, lines, { first: y, step: down, ...(isLong && { unroll }), combine });
  });
  return { ...code, arrays };
}
