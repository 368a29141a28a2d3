/** Row reductions in which the threads of a workgroup share a row and combine their parts in memory that they share. */
import { dimExpr, typical } from "../../../fusion/sizes.ts";
import type { ArrayDecl } from "../../../kernel/kernel.ts";
import { noSharing } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import type { RowProblem } from "./problem.ts";
import { lowerRow } from "./row-lowering.ts";

export const rowPerWorkgroup: Schedule<RowProblem, { readonly threads: number }> = {
  name: "row-per-workgroup",
  summary: "the threads of a workgroup share a row, element by element, and combine what they have in a tree",
  settings: (facts) => (facts.software ? noSharing : [{ threads: 64 }]),
  fits: ({ width }, { threads }) =>
    typical(width) >= threads || `a row has ${width} elements, fewer than the ${threads} threads of a workgroup`,
  cost: (_, { threads }) => 1 / threads,
  lower: ({ k, rows }, { threads }) => {
    let arrays: readonly ArrayDecl[] = [];
    const code = k.perWorkgroup(dimExpr(rows), threads, (row, lane) => {
      const lowered = lowerRow(k, row, { first: lane, step: threads });
      arrays = lowered.arrays;
      return lowered.body;
    });
    return { ...code, arrays };
  },
};
