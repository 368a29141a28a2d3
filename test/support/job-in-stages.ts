/** A tiny job that another stage follows. */
import { defineJob } from "../../runtime/index.ts";
import { tinyJob } from "./tiny-job.ts";

export default defineJob({
  name: "staged",
  summary: "a tiny job in two stages",
  config: { batch: 4 },
  build: async ({ batch }) => ({
    ...tinyJob(1),
    sizes: { batch },
    next: [{ name: "second", build: () => ({ ...tinyJob(3), sizes: { batch: 2 * batch } }) }],
  }),
});
