/** A tiny job whose data is another on a rank that is told so. */
import { defineJob } from "../../runtime/index.ts";
import { tinyJob } from "../support/tiny-job.ts";

export default defineJob({
  name: "odd",
  summary: "a tiny job with odd data",
  config: { rate: 0.25 },
  build: async () => {
    const job = tinyJob(4);
    return process.env.ODD_DATA ? { ...job, batches: (_, note) => job.batches(7, note) } : job;
  },
});
