/** `stage.json`: the result of a finished stage, so that a resumed run does not train it again. */
import { join } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { fileError } from "../file-errors.ts";
import { readText, writeFileAtomically } from "../files.ts";
import { beginAnew } from "../resume-hints.ts";
import type { FinishedStage } from "./job.ts";
import { readLosses } from "./losses.ts";
import { metricsFile } from "./run-folder.ts";

const finishedFile = (folder: string): string => join(folder, "stage.json");

type Kept = Omit<FinishedStage, "folder" | "losses">;

export function writeFinished({ folder, name, steps, seconds, loss, told, result }: FinishedStage): Promise<void> {
  const kept: Kept = { name, steps, seconds, loss, told, result };
  return writeFileAtomically(finishedFile(folder), `${JSON.stringify(kept, null, 2)}\n`);
}

/**
 * The result of a finished stage; undefined if it is not finished. Throws FileError for a damaged file, and UsageError
 * if the stage's number of steps was changed.
 */
export async function readFinished(folder: string, name: string, steps: number): Promise<FinishedStage | undefined> {
  const path = finishedFile(folder);
  const text = await readText(path);
  if (text === undefined) return undefined;
  const kept = parsed(text);
  if (kept?.name !== name)
    throw fileError(
      path,
      `it does not record the end of stage "${name}"`,
      "remove it: the stage will be finished again",
    );
  if (kept.steps !== steps)
    throw new UsageError(
      `stage "${name}" finished with ${kept.steps} steps and would now have ${steps}, but later stages started from its weights\n  hint: resume with its original number of steps, or ${beginAnew}`,
    );
  return { ...kept, folder, losses: await readLosses(metricsFile(folder)) };
}

function parsed(text: string): Kept | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isKept(value) ? value : undefined;
  } catch {
    return undefined; // reported by the caller
  }
}

function isKept(value: unknown): value is Kept {
  if (!isRecord(value) || !isRecord(value.loss) || !isRecord(value.told) || !isRecord(value.result)) return false;
  const { steps, seconds, loss } = value;
  return (
    Number.isSafeInteger(steps) &&
    Number.isFinite(seconds) &&
    [loss.first, loss.last].every((one) => one === null || Number.isFinite(one))
  );
}
