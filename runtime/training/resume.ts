/** Where a run starts: at its first step, or at the newest checkpoint in its folder. */
import type { Store } from "../../backends/backend.ts";
import { UsageError } from "../../compiler/index.ts";
import { loadNewestCheckpoint, pruneOlderCheckpoints } from "../checkpoint/checkpoint.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { oneRank } from "../collectives/index.ts";
import type { WeightParts } from "../sharding/weight-parts.ts";
import type { Best } from "./best-weights.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";
import { checkpointsFolder } from "./run-folder.ts";
import { restoreState, writeInitialState } from "./state.ts";
import type { TrainOptions } from "./train-options.ts";

/** Steps completed, where the data continues, and the best weights so far. */
export interface Beginning {
  readonly done: number;
  readonly cursor: Json | undefined;
  readonly best: Best | undefined;
}

const fromTheStart: Beginning = { done: 0, cursor: undefined, best: undefined };

/** Checkpoints that a run keeps: if the newest is damaged, there is still the one before. */
export const keptCheckpoints = 2;

/** The state that a checkpoint keeps besides tensors and step. */
export interface SavedState extends Partial<SavedPrecision> {
  readonly cursor: Json;
  readonly seed: number;
  readonly optimizer?: string;
  readonly best?: Best;
}

/** Fills the store and returns where to start. Throws UsageError when the checkpoint belongs to another job. */
export async function begin(
  job: TrainingJob,
  options: TrainOptions,
  store: Store,
  parts?: Pick<WeightParts, "fill">,
): Promise<Beginning> {
  if (!options.resume) {
    await writeInitialState(job, store, parts);
    return fromTheStart;
  }
  const { ranks = oneRank } = options;
  const together = { ...ranks.collectives, ...ranks };
  const loaded = await loadNewestCheckpoint(checkpointsFolder(options.folder), options.note, { together });
  if (!loaded) {
    options.note("no checkpoint found: starting from the beginning");
    await writeInitialState(job, store, parts);
    return fromTheStart;
  }
  try {
    const { cursor, seed, best, ...saved } = loaded.state as unknown as SavedState;
    if (seed !== job.seed)
      throw new UsageError(
        `the run to resume has seed ${seed}, but the job has ${job.seed}: resume with the original seed`,
      );
    requireSamePrecision(saved, savedPrecision(job.step));
    requireSameRule(saved.optimizer, job.step);
    await restoreState(job, store, loaded.groups, loaded.step, loaded.path, parts);
    if (ranks.isFirst) await pruneOlderCheckpoints(loaded.path, keptCheckpoints);
    options.note(`resumed at step ${loaded.step} from ${loaded.path}`);
    return { done: loaded.step, cursor, best };
  } finally {
    await loaded.dispose();
  }
}

/** A step's precision in a checkpoint; f32 is left out. */
interface SavedPrecision {
  readonly precision: string;
  /** "adapts", or the fixed value. */
  readonly lossScale: number | "adapts";
  /** Storage form of frozen weights; absent when it is f32, or there are none. */
  readonly frozen: string;
}

export const savedPrecision = ({ precision, lossScale, frozen, frozenAs }: CompiledStep): Partial<SavedPrecision> => ({
  ...(precision !== "f32" && { precision, lossScale: lossScale?.goodSteps ? "adapts" : (lossScale?.initial ?? 1) }),
  ...(frozenAs && frozen.length > 0 && { frozen: frozenAs.dtype }),
});

function requireSamePrecision(saved: Partial<SavedPrecision>, job: Partial<SavedPrecision>): void {
  const scaled = ({ precision = "f32", lossScale }: Partial<SavedPrecision>) =>
    lossScale === undefined
      ? precision
      : `${precision} with a loss scale ${lossScale === "adapts" ? "that adapts" : `of ${lossScale}`}`;
  const text = (of: Partial<SavedPrecision>) =>
    of.frozen === undefined ? scaled(of) : `${scaled(of)}, frozen weights in ${of.frozen}`;
  if (text(saved) === text(job)) return;
  throw new UsageError(
    `the run to resume computes in ${text(saved)}, but the job in ${text(job)}: resume with the original precision`,
  );
}

/** Checkpoints without a rule are from when AdamW was the only one. */
function requireSameRule(saved = "adamw", { rule }: CompiledStep): void {
  if (saved === rule.name) return;
  throw new UsageError(
    `the run to resume uses optimizer ${saved}, but the job uses ${rule.name}: resume with the original optimizer`,
  );
}
