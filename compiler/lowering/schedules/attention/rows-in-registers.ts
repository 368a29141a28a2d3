/** Attention in which each thread keeps a few rows of its own side in registers. */
import { independentThreads } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { costOnThreads } from "./cost-on-threads.ts";
import { type AttentionProblem, knownWidths } from "./problem.ts";
import { AttentionLowering, type RowsInRegisters, tiledAxis } from "./rows-lowering.ts";

export const rowsInRegisters: Schedule<AttentionProblem, RowsInRegisters> = {
  name: "rows-in-registers",
  summary: "each thread keeps a few queries (for dk and dv: keys) in registers and loops over the other side once",
  settings: (facts) => {
    const kept = facts.software
      ? [8, 4, 1].map((rows) => ({ rows, elements: 256, sums: 4, looped: 1 }))
      : [{ rows: 4, elements: 32, sums: 1, looped: 0 }];
    const threads = independentThreads(facts);
    // The variant for one row has no others to choose from.
    return [
      ...kept.slice(0, 1).map((k) => ({ threads, ...k, single: 1 })),
      ...kept.map((k) => ({ threads, ...k, single: 0 })),
    ];
  },
  fits: ({ parts }, { single }) => {
    const fit = knownWidths(parts);
    const size = tiledAxis(parts)?.size ?? 1;
    if (fit !== true || !single) return fit;
    return typeof size === "number"
      ? "it is the variant for one row of a symbolic number, and the number is known"
      : { assuming: [{ dim: size, max: 1 }] };
  },
  byRange: true,
  cost: ({ parts }, { rows, single }, { software }) =>
    software && !single ? costOnThreads(parts, { compiled: rows, atATime: rows, shared: 1 }) : 1,
  lower: ({ k, parts }, settings) => new AttentionLowering(k, parts, settings).lower(),
};
