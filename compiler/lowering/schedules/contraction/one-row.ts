/**
 * Contractions in which a side of open length turns out to have one row, as in token-by-token decoding. On CPU threads
 * sharing that row gains nothing, and tiles with more rows would compute ones that do not exist.
 */
import { independentThreads, onlySoftware } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { type ContractionProblem, openSide, severalProducts } from "./problem.ts";
import { lowerInRegisters, type Registers } from "./registers.ts";

export const oneRow: Schedule<ContractionProblem, Registers> = {
  name: "one-row",
  summary: "the variant for one row of a symbolic number: each thread computes some results in registers",
  settings: (facts) =>
    facts.software ? [{ threads: independentThreads(facts), maxTile: 8, maxOpenSide: 1 }] : onlySoftware,
  fits: (problem) => {
    if (problem.products.length > 1) return severalProducts;
    const side = openSide(problem);
    return side ? { assuming: [{ dim: side.size, max: 1 }] } : "it needs exactly one of M and N to be symbolic";
  },
  cost: () => 1,
  lower: lowerInRegisters,
};
