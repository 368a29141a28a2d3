/**
 * Contractions in which each thread computes neighbours along a batch axis, as in a depthwise convolution whose
 * channels are innermost. There is no operand reuse as in a matrix product; what counts is how the map is read: in
 * 16-byte loads, coalesced along the channels.
 */
import { isMultipleOf } from "../../../fusion/index.ts";
import { independentThreads } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { type ContractionProblem, isContiguous } from "./problem.ts";
import { lowerInRegisters } from "./registers.ts";

interface BatchRun extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Neighbours along the batch axis per thread. */
  readonly along: number;
  /** Maximum rows, or columns, per thread: they reuse what is loaded of the other operand. */
  readonly maxTile: number;
}

export const batchRuns: Schedule<ContractionProblem, BatchRun> = {
  name: "batch-runs",
  summary: "each thread computes contiguous results along a batch axis, with vector loads and stores",
  settings: (facts) => {
    const threads = independentThreads(facts);
    return [
      { threads, along: 4, maxTile: 4 },
      { threads, along: 1, maxTile: 8 },
    ];
  },
  fits: ({ k, batch, rows, columns }, { along }) => {
    const last = batch.at(-1);
    if (!last) return "the contraction has no batch axis";
    if (rows.size !== 1 && columns.size !== 1)
      return "M and N both exceed 1, so that operands are reused between results";
    const map = columns.size === 1 ? rows : columns;
    if (!isContiguous(k, batch, map)) return `an operand is not contiguous along the batch axis "${last.name}"`;
    return (
      isMultipleOf(last.size, along) ||
      `the size ${last.size} of the batch axis "${last.name}" is not a multiple of ${along}`
    );
  },
  cost: (_, { along }) => 1 / along,
  lower: (problem, { threads, along, maxTile }) =>
    lowerInRegisters(problem, { threads, maxTile, maxOpenSide: 0 }, along),
};
