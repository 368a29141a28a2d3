/** A tiny job that can be delayed and made to fail, for tests of how runs start and end. */
import { setTimeout as sleep } from "node:timers/promises";
import { FileError } from "../../compiler/index.ts";
import { positive } from "../../dsl/index.ts";
import { defineJob, type TrainingJob } from "../../runtime/index.ts";
import { tinyJob } from "./tiny-job.ts";

export default defineJob({
  name: "settled",
  summary: "a tiny job with settings",
  config: {
    steps: 4,
    batch: 4,
    rate: 3e-3,
    seed: 3,
    checkpointEvery: 1000,
    checkpointMinutes: 10,
    delay: 0,
    failsAt: -1,
    note: "",
    throwsAt: -1,
  },
  rules: { rate: positive },
  mayChange: ["delay", "failsAt", "note", "throwsAt"],
  build: async ({ delay, failsAt, throwsAt, note: text, ...c }): Promise<TrainingJob> => {
    const tiny = tinyJob(c.steps);
    return {
      ...tiny,
      seed: c.seed,
      checkpointEvery: c.checkpointEvery,
      checkpointMinutes: c.checkpointMinutes,
      async *batches(cursor, note) {
        if (text !== "") note(text);
        for await (const batch of tiny.batches(cursor, note)) {
          if (batch.next === failsAt + 1) throw new FileError(`batch ${failsAt} cannot be read`);
          if (batch.next === throwsAt + 1)
            setTimeout(() => {
              throw new Error("thrown from a timer");
            });
          await sleep(delay);
          yield batch;
        }
      },
    };
  },
});
