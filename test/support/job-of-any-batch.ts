/** A tiny job with a configurable batch size. */
import { defineJob } from "../../runtime/index.ts";
import { tinyJob } from "./tiny-job.ts";

export default defineJob({
  name: "batched",
  summary: "a tiny job of any batch",
  config: { batch: 4 },
  build: async ({ batch }) => ({ ...tinyJob(1), sizes: { batch } }),
});
