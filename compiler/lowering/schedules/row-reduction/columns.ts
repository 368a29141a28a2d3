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
  readonly threadsAcross: number;
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
      : [8, 16, 32, 64].flatMap((threadsAcross) =>
          [8, 4, 1].map((elements) => ({ threads: 256, threadsAcross, elements })),
        ),
  fits: (problem, { threads, threadsAcross, elements }, facts) => {
    const { k, rows, width } = problem;
    const threadsDown = threads / threadsAcross;
    const full = whyTooMuchStorage(problem, threads, elements, facts);
    if (full) return full;
    if (elements > 1 && !elementsOfLoad(problem).includes(elements))
      return `no tensor has ${elements} elements per 16-byte load`;
    if (!isMultipleOf(rows, elements)) return `the number of rows, ${rows}, is not a multiple of ${elements}`;
    if (threadsAcross > 8 && typical(rows) < threadsAcross * elements)
      return `${rows} rows are fewer than the ${threadsAcross * elements} of a workgroup`;
    if (typical(width) < threadsDown)
      return `a row has ${width} elements, fewer than the ${threadsDown} threads that would split it`;
    return isContiguousAlong(k, k.fused.group!.rows) || "adjacent rows are not contiguous in memory";
  },
  // Prefers wide loads; then long contiguous lines, as long as there are enough workgroups.
  cost: ({ rows }, { threadsAcross, elements }) => {
    const workgroups = typical(rows) / (threadsAcross * elements);
    return (workgroups >= manyWorkgroups ? 1 / threadsAcross : threadsAcross) / elements;
  },
  lower: lowerColumns,
};

export function lowerColumns(
  { k, rows, width }: RowProblem,
  { threads, threadsAcross, elements }: Columns,
): KernelCode {
  const arrays: ArrayDecl[] = [];
  const [count, threadsDown] = [dimExpr(rows), threads / threadsAcross];
  const code = k.perWorkgroup(ceilDiv(count, threadsAcross * elements), threads, (workgroup, lid) => {
    const [x, y] = [mod(lid, int(threadsAcross)), div(lid, int(threadsAcross))];
    const piece = add(mul(workgroup, int(threadsAcross)), x);
    const pieces = ceilDiv(count, elements);
    const inside = lt(piece, pieces);
    const isWhole = inside.kind === "const";
    // All threads meet at barriers, those past the last rows with the last rows.
    const from = mul(isWhole ? piece : min(piece, sub(pieces, int(1))), int(elements));
    const lines = Array.from({ length: elements }, (_, u): Line => {
      return { row: add(from, int(u)), ...(!isWhole && { inside }) };
    });
    const combine = workgroupReduction(k, { threads, lid, lane: y, lanes: threadsDown, apart: threadsAcross }, arrays);
    const isLong = typical(width) >= 2 * unroll * threadsDown;
    return lowerRows(k, lines, { first: y, step: threadsDown, ...(isLong && { unroll }), combine });
  });
  return { ...code, arrays };
}
