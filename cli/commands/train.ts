/** `heddle train`: runs a job, shows its progress, leaves a run folder. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Precision, UsageError } from "../../compiler/index.ts";
import { internvlCheckpoints } from "../../models/index.ts";
import {
  escapeControls,
  type Inheritance,
  inheritWeights,
  type JobFile,
  keptParameters,
  newestRunFolder,
  type RunSource,
  readSources,
  requireSameSources,
  type Settings,
  type TrainingJob,
  type TrainResult,
  train,
  unusedParameters,
  writeFileAtomically,
  writeRunSettings,
} from "../../runtime/index.ts";
import { type ChosenDevice, openDevice, parseDevice } from "../device.ts";
import { type Ending, listenForEnding } from "../interruption.ts";
import { settingsOfRun } from "../job-settings.ts";
import { loadJob } from "../load.ts";
import type { MemoryBudget } from "../memory-budget.ts";
import { tellMemory } from "../memory-report.ts";
import { json } from "../output.ts";
import { beginRun, type RunPlace, takeRun } from "../run-place.ts";
import { reported } from "../run-report.ts";
import { versions } from "../versions.ts";

export interface TrainArguments {
  readonly device: string;
  readonly resume: boolean;
  readonly set: readonly string[];
  /** The same as `--set precision=`, for jobs that have that setting. */
  readonly precision?: Precision;
  /** Runs and checkpoints to start from, the first that has a tensor giving it. */
  readonly from: readonly string[];
  readonly runs: string;
  /** Whether what heddle tune found is used. */
  readonly tuning: boolean;
  /** What each graph of the job may take of the device's memory. */
  readonly memory?: MemoryBudget;
  readonly json: boolean;
}

export async function trainCommand(source: string, args: TrainArguments): Promise<number> {
  const { job, given, config } = await loadJob(source, args.set, args.precision);
  const resumed = args.resume ? await newestRunFolder(args.runs, job.name) : undefined;
  const ending = listenForEnding(() => say("\nstopping after this step; press Ctrl-C again to stop at once"), {
    alsoPipes: true,
  });
  const place = resumed === undefined ? undefined : await takeRun(resumed);
  try {
    const settings = place ? await settingsOfRun(job, place.folder, given, say) : config;
    const device = await openDevice(parseDevice(args.device), { tuning: args.tuning, budget: args.memory });
    try {
      return await trainOn(device, { source, args, job, settings, place, ending });
    } finally {
      device.backend.dispose();
    }
  } finally {
    await place?.dispose();
    ending.dispose();
  }
}

const say = (text: string): void => void process.stderr.write(`${escapeControls(text)}\n`);

/** What a run is made of. */
interface Start {
  readonly source: string;
  readonly args: TrainArguments;
  readonly job: JobFile;
  readonly settings: Settings;
  /** Of the run that goes on; a new one has none yet. */
  readonly place: RunPlace | undefined;
  readonly ending: Ending;
}

async function trainOn(device: ChosenDevice, start: Start): Promise<number> {
  const { args, job, settings, place } = start;
  say(`${job.name}: ${job.summary}`);
  say(`device: ${device.reason}`);
  if (device.backend.device.software)
    say("this device imitates a GPU in software and is slow: --set steps=20 shows the path without the wait");
  const declared = await job.build(settings);
  tellMemory(device, declared, say);
  // A checkpoint holds all that is trained; what is not comes from the sources again.
  const isWhole = declared.step.frozen.length + unusedParameters(declared).length === 0;
  const began = place === undefined || (isWhole && args.from.length === 0) ? [] : await readSources(place.folder);
  const inheritance = await inherit(declared, args.from.length > 0 ? args.from : pathsOf(began));
  try {
    for (const line of inheritance?.report ?? []) say(line);
    const sources = inheritance?.sources ?? [];
    if (place) requireSameSources(began, sources);
    const built = inheritance ? startingFrom(inheritance, declared) : declared;
    const inFolder = (folder: string) =>
      reported({ folder, file: job, job: built, device, note: say }, () => trainIn(folder, device, built, start));
    if (place) {
      await writeRunSettings(place.folder, job.name, settings);
      return await inFolder(place.folder);
    }
    const fresh = await beginRun(args.runs, job.name, settings, sources);
    try {
      return await inFolder(fresh.folder);
    } catch (error) {
      await fresh.failed();
      throw error;
    } finally {
      await fresh.dispose();
    }
  } finally {
    await inheritance?.dispose();
  }
}

async function trainIn(
  folder: string,
  device: ChosenDevice,
  job: TrainingJob,
  { source, args, settings, ending }: Start,
): Promise<number> {
  const { backend, reason } = device;
  say(`run folder: ${folder}`);
  const result = await train(job, { folder, backend, resume: args.resume, signal: ending.signal, note: say });
  if (result.stopped) {
    say(`stopped after step ${result.steps} of ${job.steps}, saved. Go on with: heddle train ${source} --resume`);
    return ending.status();
  }
  const { weights, losses, seconds } = result;
  const run = { folder, backend, deviceReason: reason, weights, losses, seconds, note: say };
  const finished = await job.finish?.(run);
  const summary = summarize(device, settings, result, { ...computedIn(device, job), ...finished });
  await writeFileAtomically(join(folder, "summary.json"), `${json(summary)}\n`);
  process.stdout.write(args.json ? `${json(summary)}\n` : `summary: ${join(folder, "summary.json")}\n`);
  return 0;
}

/** Where the sources of a resumed run are. Throws UsageError for one that is gone. */
function pathsOf(began: readonly RunSource[]): readonly string[] {
  const gone = began.find(({ path }) => !existsSync(path));
  if (gone)
    throw new UsageError(
      `the run began from "${gone.path}", which is not there: say with --from where its weights are now`,
    );
  return began.map(({ path }) => path);
}

/** Opens what a job starts from; undefined where it starts from its own initializers. */
async function inherit(job: TrainingJob, from: readonly string[]): Promise<Inheritance | undefined> {
  if (from.length === 0) return undefined;
  const { step } = job;
  const parameters = [...step.trained, ...step.frozen, ...keptParameters(step), ...unusedParameters(job)];
  return await inheritWeights(parameters, from, internvlCheckpoints);
}

const startingFrom = (inheritance: Inheritance, job: TrainingJob): TrainingJob => ({
  ...job,
  initial: async (name) => (await inheritance.initial(name)) ?? (await job.initial?.(name)),
});

/** What a run that asked for f16 was computed in; nothing of one in f32. */
function computedIn({ backend }: ChosenDevice, { step }: TrainingJob): { readonly computedIn?: string } {
  if (step.precision === "f32") return {};
  return { computedIn: backend.precision({ precision: step.precision, parameters: "f32" }).path };
}

function summarize(device: ChosenDevice, config: unknown, result: TrainResult, finished: object) {
  const { losses } = result;
  return {
    device: { ...device.backend.device, reason: device.reason },
    versions: versions(),
    config,
    steps: result.steps,
    seconds: Math.round(result.seconds * 10) / 10,
    loss: { first: losses[0]?.loss ?? null, last: losses.at(-1)?.loss ?? null },
    lost: { data: rounded(result.lost.data), readBack: rounded(result.lost.readBack) },
    ...(result.best && { best: result.best }),
    ...finished,
  };
}

const rounded = (share: number): number => Math.round(share * 10_000) / 10_000;
