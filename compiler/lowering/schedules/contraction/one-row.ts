/**
 * Contractions in which a side of open length turns out to have one row, as in token-by-token decoding. On CPU threads
 * sharing that row gains nothing, and tiles with more rows would compute ones that do not exist.
 */
import { independentThreads } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { type ContractionProblem, openSide, severalProducts } from "./problem.ts";
import { lowerInRegisters, type Registers } from "./registers.ts";

export const oneRow: Schedule<ContractionProblem, Registers> = {
  name: "one-row",
  summary: "a side of open length turns out to have one row: a thread computes some of its results in registers",
  settings: (facts) =>
    facts.software ? [{ threads: independentThreads(facts), most: 8, few: 1 }] : "threads of hardware share the row",
  fits: (problem) => {
    if (problem.products.length > 1) return severalProducts;
    const side = openSide(problem);
    return side ? { assuming: [{ dim: side.size, max: 1 }] } : "no side is open until a run";
  },
  cost: () => 1,
  lower: lowerInRegisters,
};
