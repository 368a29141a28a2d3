/** The schedules of every kind of kernel: the first in a table that fits a problem is used. */
import type { KernelKind } from "../../kernel/index.ts";
import type { AdapterFacts } from "../facts.ts";
import { markOf } from "../findings.ts";
import type { Lowering } from "../kernel.ts";
import type { Schedule } from "../schedule.ts";
import { attentionPairTiles } from "./attention/pair-tiles.ts";
import { type AttentionProblem, attentionProblem } from "./attention/problem.ts";
import { rowsInRegisters } from "./attention/rows-in-registers.ts";
import { attentionFewRows, attentionTiles } from "./attention/shared-tiles.ts";
import { attentionMatrices } from "./attention/subgroup-matrices.ts";
import { subgroupRows } from "./attention/subgroup-rows.ts";
import { batchRuns } from "./contraction/batch-runs.ts";
import { fewRows } from "./contraction/few-rows.ts";
import { fewRowsSliced } from "./contraction/few-rows-sliced.ts";
import { oneRow } from "./contraction/one-row.ts";
import { type ContractionProblem, contractionProblem } from "./contraction/problem.ts";
import { registers } from "./contraction/registers.ts";
import { sharedTiles } from "./contraction/shared-tiles.ts";
import { subgroupMatrices } from "./contraction/subgroup-matrices.ts";
import { subgroupTiles } from "./contraction/subgroup-tiles.ts";
import { wholeRows } from "./contraction/whole-rows.ts";
import { type ElementwiseProblem, elementwiseProblem, runs } from "./elementwise/runs.ts";
import { columnPerThread, type ScatterProblem, scatterProblem } from "./indexing/column-per-thread.ts";
import { columns } from "./row-reduction/columns.ts";
import { type RowProblem, rowProblem } from "./row-reduction/problem.ts";
import { rowInRegisters } from "./row-reduction/row-in-registers.ts";
import { rowPerThread } from "./row-reduction/row-per-thread.ts";
import { rowPerWorkgroup } from "./row-reduction/row-per-workgroup.ts";

/** The problem of kernels of a kind, and the schedules for it in the order in which they are tried. */
export interface KindOfKernel<P> {
  readonly problem: (k: Lowering) => P;
  readonly schedules: readonly Schedule<P>[];
}

/** The problem type of each kind of kernel. */
export interface Problems {
  readonly contraction: ContractionProblem;
  readonly attention: AttentionProblem;
  readonly row_reduction: RowProblem;
  readonly elementwise: ElementwiseProblem;
  readonly indexing: ScatterProblem;
}

export type ScheduleTables = { readonly [K in KernelKind]: KindOfKernel<Problems[K]> };

export const scheduleTables: ScheduleTables = {
  contraction: {
    problem: contractionProblem,
    schedules: [
      fewRows,
      fewRowsSliced,
      subgroupMatrices,
      sharedTiles,
      oneRow,
      subgroupTiles,
      batchRuns,
      registers,
      wholeRows,
    ],
  },
  attention: {
    problem: attentionProblem,
    schedules: [attentionFewRows, attentionMatrices, attentionTiles, attentionPairTiles, subgroupRows, rowsInRegisters],
  },
  row_reduction: { problem: rowProblem, schedules: [rowInRegisters, columns, rowPerWorkgroup, rowPerThread] },
  elementwise: { problem: elementwiseProblem, schedules: [runs] },
  indexing: { problem: scatterProblem, schedules: [columnPerThread] },
};

/** The tables with a schedule added to a kind, ahead of all others. */
export const withSchedule = <K extends KernelKind>(
  kind: K,
  schedule: Schedule<Problems[K]>,
  tables: ScheduleTables = scheduleTables,
): ScheduleTables => ({
  ...tables,
  [kind]: { ...tables[kind], schedules: [schedule, ...tables[kind].schedules] },
});

/**
 * A hash of the schedules themselves: findings measured with other schedules do not apply. It covers their own
 * functions, also of schedules added to the tables, but not the code that these call: who stores findings knows where
 * that lies, and adds a hash of it.
 */
export const markOfTables = (tables: ScheduleTables, facts: AdapterFacts): string =>
  markOf(
    Object.entries(tables)
      .flatMap(([kind, { schedules }]) =>
        schedules.map((s) => [kind, s.name, JSON.stringify(s.settings(facts)), s.fits, s.cost, s.lower].join(" ")),
      )
      .join("\n"),
  );
