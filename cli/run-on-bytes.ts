/** Runs whose texts are bytes: they have no tokenizer.json to keep, only the setting. */
import { readRunSettings } from "../runtime/index.ts";
import { folderOf } from "./checkpoint.ts";

/** Whether the weights are those of a run that was trained with `--tokenizer bytes`. */
export const isRunOnBytes = async (weights: string): Promise<boolean> =>
  (await readRunSettings(folderOf(weights)))?.tokenizer === "bytes";
