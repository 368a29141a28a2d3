/**
 * In-memory training of a small step, such as a linear probe on precomputed vectors, without a folder, logs or
 * checkpoints.
 */
import type { Backend } from "../../backends/backend.ts";
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";
import { compilePhases } from "./phases.ts";
import { readWeights, writeInitialState } from "./state.ts";

export interface Lesson extends Pick<TrainingJob, "steps" | "sizes" | "seed"> {
  /** The feeds of each step, from 0 on. */
  readonly feeds: (step: number) => Readonly<Record<string, HostTensor>>;
  readonly onStep?: (done: number, loss: number) => void;
}

/** The weights after all steps, by name. Throws UsageError when the loss is not finite. */
export async function learn(
  step: CompiledStep,
  { feeds, onStep, ...lesson }: Lesson,
  backend: Backend,
): Promise<ReadonlyMap<string, HostTensor>> {
  async function* none() {}
  const job: TrainingJob = { ...lesson, step, checkpointEvery: lesson.steps, batches: none };
  const store = backend.createStore();
  try {
    const phases = await compilePhases(job, backend);
    try {
      await writeInitialState(job, store);
      for (let done = 0; done < job.steps; done += 1) {
        const [run] = phases.runs(store, 0, feeds(done));
        const loss = Number((await run!.start()).loss!.data[0]);
        if (!Number.isFinite(loss))
          throw new UsageError(`the loss of step ${done + 1} is ${loss}: use a lower learning rate`);
        onStep?.(done + 1, loss);
      }
      return await readWeights(job, store);
    } finally {
      phases.dispose();
    }
  } finally {
    store.dispose();
  }
}
