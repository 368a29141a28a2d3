/**
 * The best weights by validation, in `best/step-000123/`: complete at every moment, and consistent with the checkpoint
 * that a resume starts from.
 */
import { fileSystem, join } from "#host";
import type { HostTensor } from "../../compiler/index.ts";
import { saveCheckpoint } from "../checkpoint/checkpoint.ts";
import { keepSteps, stepName } from "../checkpoint/folders.ts";
import { tensorToWrite } from "../safetensors/writer.ts";
import type { Validation } from "./job.ts";

/** The best weights' entry in a checkpoint. */
export interface Best {
  readonly metric: string;
  readonly mode: "max" | "min";
  readonly step: number;
  readonly value: number;
}

export interface BestWeights {
  readonly now: Best | undefined;
  /** Keeps a step's weights if its value is better than any before. */
  offer(step: number, value: number, weights: () => Promise<ReadonlyMap<string, HostTensor>>): Promise<boolean>;
  /** Called when a checkpoint has recorded the current best, so that earlier ones can be removed. */
  checkpointed(): Promise<void>;
}

const bestFolder = (run: string): string => join(run, "best");

/** The folder of a run's best weights. */
export const bestStepFolder = (run: string, { step }: Best): string => join(bestFolder(run), stepName(step));

/**
 * Continues from a checkpoint's record. Weights of later steps are removed, since the run repeats those steps. If the
 * recorded weights are missing, or were chosen by another metric, the next validation is the best so far.
 */
export async function openBestWeights(
  runFolder: string,
  { metric, mode }: NonNullable<Validation["best"]>,
  saved: Best | undefined,
  note: (text: string) => void,
): Promise<BestWeights> {
  const folder = bestFolder(runFolder);
  const known = saved?.metric === metric && saved.mode === mode ? saved : undefined;
  const kept = await keepSteps(fileSystem, folder, known ? [known.step] : []);
  if (known && kept.length === 0) note(`the best weights so far (step ${known.step}) are no longer in ${folder}`);
  let best = kept.length > 0 ? known : undefined;
  let inCheckpoint = best;
  const isBetter = (value: number) =>
    Number.isFinite(value) && (!best || (mode === "max" ? value > best.value : value < best.value));
  return {
    get now() {
      return best;
    },
    offer: async (step, value, weights) => {
      if (!isBetter(value)) return false;
      const model = [...(await weights())].map(([n, t]) => tensorToWrite(n, t));
      const found = { metric, mode, step, value: value + 0 }; // JSON has no -0
      await saveCheckpoint(folder, { step, state: { ...found }, groups: { model } });
      best = found;
      await keepSteps(fileSystem, folder, [step, ...(inCheckpoint ? [inCheckpoint.step] : [])]);
      return true;
    },
    checkpointed: async () => {
      if (inCheckpoint === best) return;
      inCheckpoint = best;
      await keepSteps(fileSystem, folder, best ? [best.step] : []);
    },
  };
}
