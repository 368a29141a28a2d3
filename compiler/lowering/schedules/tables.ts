/** The schedules of every kind of kernel: the first of a table that fits a problem is taken. */
import type { KernelKind } from "../../kernel/kernel.ts";
import type { Lowering } from "../kernel.ts";
import type { Schedule } from "../schedule.ts";
import { attentionProblem, rowsInRegisters } from "./attention/rows-in-registers.ts";
import { fewRows } from "./contraction/few-rows.ts";
import { contractionProblem } from "./contraction/problem.ts";
import { registers } from "./contraction/registers.ts";
import { sharedTiles } from "./contraction/shared-tiles.ts";
import { elementwiseProblem, runs } from "./elementwise/runs.ts";
import { columnPerThread, scatterProblem } from "./indexing/column-per-thread.ts";
import { rowProblem } from "./row-reduction/problem.ts";
import { rowPerThread } from "./row-reduction/row-per-thread.ts";
import { rowPerWorkgroup } from "./row-reduction/row-per-workgroup.ts";

/** What kernels of a kind compute, and the ways to do it, in the order in which they are tried. */
export interface KindOfKernel<P> {
  readonly problem: (k: Lowering) => P;
  readonly schedules: readonly Schedule<P>[];
}

const kind = <P>(problem: (k: Lowering) => P, ...schedules: readonly Schedule<P>[]): KindOfKernel<unknown> =>
  ({ problem, schedules }) as KindOfKernel<unknown>;

export const kinds: Readonly<Record<KernelKind, KindOfKernel<unknown>>> = {
  contraction: kind(contractionProblem, fewRows, sharedTiles, registers),
  attention: kind(attentionProblem, rowsInRegisters),
  row_reduction: kind(rowProblem, rowPerWorkgroup, rowPerThread),
  elementwise: kind(elementwiseProblem, runs),
  indexing: kind(scatterProblem, columnPerThread),
};
