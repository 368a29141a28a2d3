/** Row reductions in which every thread reduces whole rows. */
import { dimExpr } from "../../../fusion/index.ts";
import { independentThreads } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import type { RowProblem } from "./problem.ts";
import { lowerRow } from "./row-lowering.ts";

export const rowPerThread: Schedule<RowProblem, { readonly threads: number }> = {
  name: "row-per-thread",
  summary: "each thread reduces whole rows",
  settings: (facts) => [{ threads: independentThreads(facts) }],
  fits: () => true,
  cost: () => 1,
  lower: ({ k, rows }, { threads }) => k.perThread(dimExpr(rows), threads, (row) => lowerRow(k, row)),
};
