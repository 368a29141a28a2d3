/** Training in the page: the package's training loop, fed with emoji and tested on held-out drawings. */
import {
  type Device,
  type FileSystem,
  type HostTensor,
  type Model,
  type StageSettings,
  type TrainingJob,
  trace,
  train,
  trainingStep,
} from "../../api/browser.ts";
import { factsOf, type WebgpuBackend } from "../../backends/webgpu/index.ts";
import { loadNewestCheckpoint, readBytes } from "../../runtime/index.ts";
import { requireRoom } from "./batch-memory.ts";
import { batchOf, type Shown } from "./batches.ts";
import type { Emoji } from "./emoji.ts";
import { type Evaluation, Gallery } from "./gallery.ts";
import { recipeOf } from "./model.ts";
import { requireTokens, shapeOf, Towers } from "./towers.ts";

/** What to train, how, and where its files are. */
export interface Plan {
  readonly model: Model;
  readonly stage: string;
  readonly settings: StageSettings;
  readonly seed: number;
  readonly folder: string;
}

/** A point of the loss curve. */
export interface Point {
  readonly step: number;
  readonly loss: number;
}

export type Weights = ReadonlyMap<string, HostTensor>;

/** Callbacks of a run. */
export interface Watch {
  readonly signal: AbortSignal;
  /** Called when the plan has been checked, before its step is compiled. */
  readonly onBegin: () => void;
  readonly onBatch: (step: number, shown: readonly Shown[]) => void;
  readonly onStep: (step: number, figures: Readonly<Record<string, number>>) => void;
  readonly onTest: (step: number, found: Evaluation, weights: Weights) => void;
}

/** Steps between tests and between checkpoints; drawings per test. */
const [testEvery, checkpointEvery, tested] = [25, 25, 60] as const;

/**
 * Trains from the newest checkpoint until the last step or the signal. Returns whether it finished. Throws UsageError
 * if the model does not fit the emoji, or the batch not the device.
 */
export async function trainPlan(plan: Plan, device: Device, emoji: Emoji, watch: Watch): Promise<boolean> {
  const job = jobOf(plan, emoji, watch);
  requireRoom(job.step.graph, job.sizes.batch!, factsOf((device as unknown as WebgpuBackend).gpu));
  watch.onBegin();
  const { stopped } = await train(job, {
    device,
    folder: plan.folder,
    signal: watch.signal,
    onStep: watch.onStep,
  });
  return !stopped;
}

function jobOf({ model, stage: name, settings, seed }: Plan, emoji: Emoji, watch: Watch): TrainingJob {
  const { stage, steps, batch: rows } = recipeOf(model, name, settings);
  const step = trainingStep(stage);
  const graph = trace(model);
  requireTokens(step.graph, emoji);
  const shape = shapeOf(step.graph, model.preprocessing); // a stage may use another resolution than the model
  return {
    step,
    steps,
    sizes: { batch: rows },
    seed,
    checkpointEvery,
    model: graph,
    async *batches(cursor) {
      for (let step = Number(cursor ?? 0); ; step++) {
        const { feeds, shown } = batchOf(emoji, shape, rows, seed, step);
        watch.onBatch(step, shown);
        yield { feeds, next: step + 1 };
      }
    },
    validate: {
      every: testEvery,
      run: async ({ step, evaluate, weights }) => {
        const gallery = new Gallery(emoji, new Towers(graph, model, emoji, evaluate));
        const found = await gallery.evaluate(tested);
        watch.onTest(step, found, await weights());
        return found.recall;
      },
    },
  };
}

/** An earlier run: its newest checkpoint, and the losses up to it. Undefined if there is none. */
export interface Left {
  readonly step: number;
  readonly points: readonly Point[];
  /** The trained parameters. */
  readonly weights: () => Promise<Weights>;
}

export async function leftBy({ folder }: Pick<Plan, "folder">, fs: FileSystem): Promise<Left | undefined> {
  const open = () => loadNewestCheckpoint(`${folder}/checkpoints`, () => {}, { fs });
  const found = await open();
  if (!found) return undefined;
  const { step } = found;
  await found.dispose();
  return {
    step,
    points: (await pointsIn(folder, fs)).filter((point) => point.step <= step),
    weights: async () => {
      const checkpoint = (await open())!;
      try {
        const { model } = checkpoint.groups;
        const weights = new Map<string, HostTensor>();
        for (const name of model!.tensors.keys()) weights.set(name, await model!.readTensor(name));
        return weights;
      } finally {
        await checkpoint.dispose();
      }
    },
  };
}

const mostBytes = 2 ** 26;

/** The log has one line per step; incomplete lines are ignored. */
async function pointsIn(folder: string, fs: FileSystem): Promise<Point[]> {
  const text = new TextDecoder().decode(await readBytes(fs, `${folder}/metrics.jsonl`, mostBytes));
  return text.split("\n").flatMap((line) => {
    try {
      const { step, loss } = JSON.parse(line) as Partial<Point>;
      return step !== undefined && typeof loss === "number" ? [{ step, loss }] : [];
    } catch {
      return [];
    }
  });
}
