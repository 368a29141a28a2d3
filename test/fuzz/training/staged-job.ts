/** The small job with two stages after it: low-rank updates by LAMB, then SGD of all weights, each from averages. */
import { constantRate, lamb, type Stage, sgd, steppedRate } from "../../../dsl/index.ts";
import { defineJob } from "../../../runtime/index.ts";
import { hardJob, hardSettings, stepOf } from "./job.ts";

const lowRank: Partial<Stage> = {
  name: "low-rank",
  precision: "f32",
  lora: { pattern: "in", rank: 2, alpha: 4 },
  optimizer: { rate: steppedRate({ rate: 2e-2, factor: 0.5, after: 3 }), rule: lamb() },
};

const descent: Partial<Stage> = {
  name: "descent",
  accumulate: 3,
  optimizer: { rate: constantRate(1e-3), rule: sgd({ momentum: 0.9, nesterov: true }) },
};

export default defineJob({
  name: "hard-stages",
  summary: "three stages with all that a run has to keep",
  config: { ...hardSettings },
  mayChange: ["delay"],
  build: async (settings) => {
    const job = hardJob(settings);
    return {
      ...job,
      next: [
        { name: "low-rank", build: () => ({ ...job, step: stepOf(lowRank) }) },
        { name: "descent", build: () => ({ ...job, step: stepOf(descent), checkpointEvery: 3 }) },
      ],
    };
  },
});
