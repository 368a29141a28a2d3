/** A job whose precision cannot be chosen. */
import { defineJob } from "../../runtime/index.ts";
import { tinyJob } from "./tiny-job.ts";

export default defineJob({
  name: "plain",
  summary: "a job without settings",
  config: {},
  build: async () => tinyJob(1),
});
