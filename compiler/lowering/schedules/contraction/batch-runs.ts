/**
 * Contractions in which each thread computes neighbours along a batch axis, as in a depthwise convolution whose
 * channels are innermost. There is no operand reuse as in a matrix product; what counts is how the map is read: in
 * 16-byte loads, coalesced along the channels.
 */
import { isMultipleOf } from "../../../fusion/index.ts";
import { independentThreads } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { type ContractionProblem, neighbours } from "./problem.ts";
import { lowerInRegisters } from "./registers.ts";

interface BatchRun extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Neighbours along the batch axis per thread. */
  readonly along: number;
  /** Maximum rows, or columns, per thread: they reuse what is loaded of the other operand. */
  readonly most: number;
}

export const batchRuns: Schedule<ContractionProblem, BatchRun> = {
  name: "batch-runs",
  summary:
    "a thread has neighbours along an axis of both operands and the result, which are loaded and stored together",
  settings: (facts) => {
    const threads = independentThreads(facts);
    return [
      { threads, along: 4, most: 4 },
      { threads, along: 1, most: 8 },
    ];
  },
  fits: ({ k, batch, rows, columns }, { along }) => {
    const last = batch.at(-1);
    if (!last) return "the operands share no axis but those that are summed over";
    if (rows.size !== 1 && columns.size !== 1) return "rows and columns share what is loaded of both";
    const map = columns.size === 1 ? rows : columns;
    if (!neighbours(k, batch, map)) return `neighbours along "${last.name}" lie apart in memory`;
    return isMultipleOf(last.size, along) || `${last.size} along "${last.name}" are not a multiple of ${along}`;
  },
  cost: (_, { along }) => 1 / along,
  lower: (problem, { threads, along, most }) => lowerInRegisters(problem, { threads, most, few: 0 }, along),
};
