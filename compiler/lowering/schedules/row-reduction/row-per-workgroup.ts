/** Row reductions in which the threads of a workgroup share a row of any length. */
import { dimExpr, isMultipleOf, typical } from "../../../fusion/index.ts";
import { type ArrayDecl, variable } from "../../../kernel/index.ts";
import { noSharing } from "../../facts.ts";
import type { KernelCode } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import { knownSubgroup, subgroupReduction, threadOf, workgroupReduction } from "./combine.ts";
import { elementsOfLoad, isContiguousAlong, type RowProblem, whyTooMuchStorage } from "./problem.ts";
import { lowerRow } from "./row-lowering.ts";

interface Shared extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Neighbouring elements that a thread loads at once. */
  readonly elements: number;
  /** Subgroup size; 0 if threads exchange partial results through workgroup memory. */
  readonly subgroup: number;
}

/** The least number of pieces per thread: with fewer, combining partial results dominates. */
const leastPieces = 4;
/** Loads in flight per thread. */
const unroll = 4;

export const rowPerWorkgroup: Schedule<RowProblem, Shared> = {
  name: "row-per-workgroup",
  summary: "the threads of a workgroup share a row of any length and reduce it in a loop",
  settings: (facts) => {
    if (facts.software) return noSharing;
    const subgroup = knownSubgroup(facts);
    const threads = [64, 256, 1024].filter((n) => n <= facts.maxWorkgroupInvocations && n >= subgroup);
    return threads.flatMap((n) => [8, 4, 1].map((elements) => ({ threads: n, elements, subgroup })));
  },
  fits: (problem, { threads, elements, subgroup }, facts) => {
    const { k, width } = problem;
    const full = subgroup === 0 ? whyTooMuchStorage(problem, threads, 1, facts) : undefined;
    if (full) return full;
    if (typical(width) < threads)
      return `a row has ${width} elements, fewer than the ${threads} threads of a workgroup`;
    if (threads > 64 && typical(width) < leastPieces * threads * elements)
      return `a row has ${width} elements, too few for ${threads} threads`;
    if (elements === 1) return true;
    if (!elementsOfLoad(problem).includes(elements)) return `no tensor has ${elements} elements per 16-byte load`;
    if (!isMultipleOf(width, elements)) return `the row length, ${width}, is not a multiple of ${elements}`;
    return isContiguousAlong(k, k.fused.group!.reduced) || "rows are not contiguous in memory";
  },
  cost: (_, { threads, elements }) => 1 / (threads * elements),
  lower,
};

function lower({ k, rows, width }: RowProblem, { threads, elements, subgroup }: Shared): KernelCode {
  const arrays: ArrayDecl[] = [];
  const code = k.perWorkgroup(dimExpr(rows), threads, (row) => {
    const lid = threadOf(threads, subgroup, (name, max) => variable(name, "i32", { min: 0, max }));
    const all = { threads, lid, lane: lid, lanes: threads, apart: 1 };
    const combine = subgroup > 0 ? subgroupReduction(k, all, subgroup, arrays) : workgroupReduction(k, all, arrays);
    const isLong = typical(width) >= 2 * unroll * threads * elements;
    return lowerRow(k, row, { first: lid, step: threads, elements, ...(isLong && { unroll }), combine });
  });
  return { ...code, arrays, ...(subgroup > 0 && { subgroupSize: subgroup }) };
}
