/** `heddle train`: runs a job, or a model's stages in sequence, with progress and a folder for each run. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { hostname } from "node:os";
import { extname, join } from "node:path";
import { settingsOfRun, versions } from "../../api/node-index.ts";
import { inputName, type Precision, UsageError } from "../../compiler/index.ts";
import {
  collapseNames,
  type FinishedStage,
  hasSavedStep,
  type Inheritance,
  inheritWeights,
  type JobFile,
  keptParameters,
  newestRunFolder,
  type RankFigures,
  type RunSource,
  rankText,
  readSources,
  requireSame,
  requireSameSources,
  type Settings,
  type Shard,
  type TrainingJob,
  trainInStages,
  unusedParameters,
  writeFileAtomically,
  writeRunSettings,
} from "../../runtime/index.ts";
import { type ChosenDevice, parseDevice } from "../device.ts";
import { faultText } from "../fault-text.ts";
import { type Ending, listenForEnding, savingOnFaults } from "../interruption.ts";
import { isModel, loadJob, loadStagedModel } from "../load.ts";
import type { MemoryBudget } from "../memory-budget.ts";
import { tellMemory } from "../memory-report.ts";
import { json } from "../output.ts";
import { openRankDevice } from "../rank-device.ts";
import { inRankSession, type RankSession } from "../rank-session.ts";
import { beginRun, type RunPlace, takeRun } from "../run-place.ts";
import { reported } from "../run-report.ts";
import { withoutStages } from "../stage-step.ts";
import { type LoadedJob, stageJob, stageRunName } from "../stages/job.ts";

export interface TrainArguments {
  readonly device: string;
  readonly resume: boolean;
  readonly set: readonly string[];
  /** Same as `--set precision=`, for jobs that have that setting. */
  readonly precision?: Precision;
  /** A stage of a model, or several separated by commas, each starting from the previous one. */
  readonly stage?: string;
  /** Training data: shards, folders and lists. */
  readonly data: readonly string[];
  /** Filters of the data, as in `heddle data`. */
  readonly filter: readonly string[];
  /** Validation data: shards, folders and lists. */
  readonly validate: readonly string[];
  /** Whether a run may be resumed although its data files changed. */
  readonly changedData?: boolean;
  /** "bytes", a tokenizer.json, or the folder of one. */
  readonly tokenizer?: string;
  /** Runs and checkpoints to start from; each tensor comes from the first that has it. */
  readonly from: readonly string[];
  readonly runs: string;
  /** Whether tuning results of `heddle tune` are used. */
  readonly tuning: boolean;
  /** The device memory budget of each graph of the job. */
  readonly memory?: MemoryBudget;
  /** Whether ranks on one machine may share a device. */
  readonly shareDevices: boolean;
  /** What is sharded over ranks. */
  readonly shard?: Shard;
  readonly json: boolean;
}

/** The command's arguments, and its ranks. */
type Asked = TrainArguments & RankSession;

export const trainCommand = (source: string, args: TrainArguments): Promise<number> =>
  inRankSession((session) => trainSource(source, { ...args, ...session }));

async function trainSource(source: string, args: Asked): Promise<number> {
  // Compared first: the ranks' collective operations depend on it.
  const { resume, stage = "none", shard = "nothing" } = args;
  await requireSame(args.ranks, {
    "--resume": String(resume),
    "--stage": stage,
    "--shard": shard,
  });
  if (args.changedData && !args.resume)
    throw new UsageError("--changed-data needs --resume: it is for a run that is resumed");
  if (args.shard && args.ranks.collectives.size === 1)
    args.say(`--shard ${args.shard} has no effect with a single rank: start several, as mpirun -n 8 does`);
  if (args.stage !== undefined) return await trainStages(source, args.stage.split(","), args);
  const ofStages = {
    data: args.data.length > 0,
    filter: args.filter.length > 0,
    validate: args.validate.length > 0,
    tokenizer: args.tokenizer,
    "changed-data": args.changedData,
  };
  const wrong = Object.entries(ofStages).find(([, given]) => given);
  if (wrong) throw new UsageError(`--${wrong[0]} is for a stage of a model: choose one with --stage`);
  if (await isModel(source)) throw await withoutStage(source);
  return await trainJob(source, args, await loadJob(source, args.set, args.precision));
}

/** Trains stages in sequence. With --resume, completed stages are skipped and the interrupted one continues. */
async function trainStages(source: string, stages: readonly string[], args: Asked): Promise<number> {
  const { ranks, say } = args;
  const model = await loadStagedModel(source);
  let before: readonly string[] = [];
  for (const stage of stages) {
    const set = settingsFor(stage, stages, args.set);
    const from = [...before, ...args.from];
    const name = stageRunName(model, stage);
    const { begun, isDone } = await ranks.decide(() => progressOf(name, stages, args));
    const resume = args.resume && begun !== undefined;
    if (begun && isDone) {
      say(`${name}: done, in ${begun}`);
      before = [begun];
      continue;
    }
    const started = { ...args, set, from: resume ? args.from : from, resume };
    const ended = await trainJob(source, started, await stageJob(model, source, stage, { ...started, from }));
    if (ended !== 0) return ended;
    before = [await ranks.decide(() => newestRunFolder(args.runs, name))];
  }
  return 0;
}

/** The run of a stage to resume, if there is one, and whether it has ended. */
async function progressOf(name: string, stages: readonly string[], { resume, runs }: TrainArguments) {
  const begun = resume && stages.length > 1 ? await newestRunFolder(runs, name).catch(() => undefined) : "";
  return { begun, isDone: begun !== undefined && existsSync(join(begun, "summary.json")) };
}

/** The `--set` values for one stage of a sequence: those without another stage's prefix, as in "1.1:steps=100". */
function settingsFor(stage: string, stages: readonly string[], set: readonly string[]): readonly string[] {
  return set.flatMap((setting) => {
    const named = stages.find((s) => setting.startsWith(`${s}:`));
    if (named === undefined) return [setting];
    return named === stage ? [setting.slice(named.length + 1)] : [];
  });
}

async function withoutStage(source: string): Promise<UsageError> {
  const stages = Object.keys((await loadStagedModel(source)).stages ?? {});
  const known = stages.length > 0 ? `choose one with --stage ${stages.join(", or ")}` : withoutStages;
  return new UsageError(`"${source}" is a model, which is trained in stages: ${known}`);
}

async function trainJob(source: string, args: Asked, { job, given, config }: LoadedJob): Promise<number> {
  const { ranks, say, sayOfSignal } = args;
  const resumed = args.resume ? await ranks.decide(() => newestRunFolder(args.runs, job.name)) : undefined;
  const ending = listenForEnding(() => sayOfSignal("\nstopping after this step; press Ctrl-C again to stop at once"), {
    alsoPipes: true,
  });
  const place = resumed === undefined ? undefined : await takeRun(resumed, ranks);
  try {
    const settings = place ? await settingsOfRun(job, place.folder, given, say) : config;
    await requireSame(ranks, await commandFacts(source, settings));
    const options = { tuning: args.tuning, budget: args.memory, share: args.shareDevices, say };
    const device = await openRankDevice(parseDevice(args.device), ranks, options);
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

/** What must be equal on all ranks before anything is built. */
async function commandFacts(source: string, settings: Settings): Promise<Readonly<Record<string, string>>> {
  const text = existsSync(source) && extname(source) !== "" ? await readFile(source) : source;
  return {
    "job file": createHash("sha256").update(text).digest("hex"),
    settings: JSON.stringify(settings),
  };
}

/** The parts of a run. */
interface Start {
  readonly source: string;
  readonly args: Asked;
  readonly job: JobFile;
  readonly settings: Settings;
  /** The folder of a resumed run; undefined for a new one. */
  readonly place: RunPlace | undefined;
  readonly ending: Ending;
}

async function trainOn(device: ChosenDevice, start: Start): Promise<number> {
  const { job, settings } = start;
  const { say } = start.args;
  say(`${job.name}: ${job.summary}`);
  await sayDevices(device, start.args);
  if (device.backend.device.software)
    say("this device emulates a GPU in software and is slow: try --set steps=20 first");
  const declared = await job.build(settings);
  try {
    return await trainBuilt(device, declared, start);
  } finally {
    await declared.dispose?.();
  }
}

/** Reports the device, or those of all ranks. */
async function sayDevices({ reason }: ChosenDevice, { ranks, say }: RankSession): Promise<void> {
  const { size, carrier } = ranks.collectives;
  if (size === 1) return say(`device: ${reason}`);
  say(`${size} ranks over ${carrier}`);
  const all = await ranks.tell(`${reason}, on ${hostname()}`);
  for (const [rank, device] of all.entries()) say(`device of rank ${rank}: ${device}`);
}

async function trainBuilt(device: ChosenDevice, declared: TrainingJob, start: Start): Promise<number> {
  const { args, job, settings, place } = start;
  const { ranks, say } = args;
  tellMemory(device, declared, say);
  const began = place ? await ranks.decide(() => sourcesToRead(place.folder, declared, args.from)) : [];
  const inheritance = await inherit(declared, args.from.length > 0 ? args.from : pathsOf(began));
  try {
    const report = [
      ...(inheritance?.report ?? []),
      ...randomAndFrozen(declared, inheritance),
      ...(declared.report ?? []),
    ];
    for (const line of report) say(line);
    const sources = inheritance?.sources ?? [];
    await requireSame(ranks, { "weights of --from": sources.map((s) => s.fingerprint).join(" ") });
    if (place) requireSameSources(began, sources);
    const built = inheritance ? startingFrom(inheritance, declared) : declared;
    const remarks: string[] = [];
    const inFolder = (folder: string) =>
      ranks.isFirst
        ? reported({ folder, file: job, job: built, device, note: say, ranks, remarks }, () =>
            trainIn(folder, device, built, start, remarks),
          )
        : trainIn(folder, device, built, start, remarks);
    if (place) {
      if (ranks.isFirst) await writeRunSettings(place.folder, job.name, settings);
      return await inFolder(place.folder);
    }
    const fresh = await beginRun(args.runs, job.name, settings, sources, ranks);
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
  remarks: string[],
): Promise<number> {
  const { backend, reason } = device;
  const { ranks, say } = args;
  say(`run folder: ${folder}`);
  const how = {
    folder,
    backend,
    resume: args.resume,
    signal: ending.signal,
    note: say,
    deviceReason: reason,
    ranks,
    ...(args.shard && { shard: args.shard }),
  };
  const result = await savingOnFaults(ending, reportFault, () => trainInStages(job, how));
  if (result.stopped) {
    const where = job.next ? ` of stage "${result.stage}"` : "";
    const stage = args.stage === undefined ? "" : ` --stage ${args.stage}`;
    say(
      `stopped after step ${result.steps} of ${result.of}${where}, saved. Resume with: heddle train ${source}${stage} --resume`,
    );
    return Math.max(...(await ranks.tell(ending.status())));
  }
  if (!ranks.isFirst) return 0;
  for (const { told } of result.stages) if (told.ranks) remarks.push(rankText(told.ranks as unknown as RankFigures));
  const summary = summarize(device, settings, result.stages, { ...computedIn(device, job), ...result.finished });
  await writeFileAtomically(join(folder, "summary.json"), `${json(summary)}\n`);
  process.stdout.write(args.json ? `${json(summary)}\n` : `summary: ${join(folder, "summary.json")}\n`);
  return 0;
}

function reportFault(fault: unknown): number {
  const { text, status } = faultText(fault);
  process.stderr.write(`${text}\n`);
  return status;
}

/**
 * The sources of a resumed run, if they are needed: a checkpoint holds the trained parameters, and only the others are
 * read again; a run that was killed before its first checkpoint reads all of them.
 */
async function sourcesToRead(folder: string, declared: TrainingJob, from: readonly string[]) {
  const isWhole = declared.step.frozen.length + unusedParameters(declared).length === 0;
  const isInCheckpoint = isWhole && from.length === 0 && (await hasSavedStep(folder));
  return isInCheckpoint ? [] : await readSources(folder);
}

/** The paths of a resumed run's sources. Throws UsageError for one that is gone. */
function pathsOf(began: readonly RunSource[]): readonly string[] {
  const gone = began.find(({ path }) => !existsSync(path));
  if (gone)
    throw new UsageError(
      `the run started from "${gone.path}", which does not exist: give the new place of its weights with --from`,
    );
  return began.map(({ path }) => path);
}

/** Opens the weights that a job starts from; undefined for random initialization. */
async function inherit(job: TrainingJob, from: readonly string[]): Promise<Inheritance | undefined> {
  if (from.length === 0) return undefined;
  const { step } = job;
  const parameters = [...step.trained, ...step.frozen, ...keptParameters(step), ...unusedParameters(job)];
  return await inheritWeights(parameters, from, job.checkpoints);
}

/** Frozen weights that no source has: they stay random, which is reported. */
function randomAndFrozen({ step, initial }: TrainingJob, inheritance: Inheritance | undefined): string[] {
  if (initial) return [];
  const names = step.frozen.map((node) => inputName(node));
  const random = names.filter((name) => !inheritance?.has(name));
  if (random.length === 0) return [];
  const all = [...names, ...step.trained.map((node) => inputName(node))];
  return [`random, and not trained: ${collapseNames(random, all).join(", ")}: load them with --from, or train them`];
}

const startingFrom = (inheritance: Inheritance, job: TrainingJob): TrainingJob => ({
  ...job,
  initial: async (name) => (await inheritance.initial(name)) ?? (await job.initial?.(name)),
});

/** The path by which an f16 run was computed; empty in f32. */
function computedIn({ backend }: ChosenDevice, { step }: TrainingJob): { readonly computedIn?: string } {
  if (step.precision === "f32") return {};
  return { computedIn: backend.precision({ precision: step.precision, parameters: "f32" }).path };
}

/** Steps, seconds and loss are those of the job's own training; later stages are listed separately. */
function summarize(device: ChosenDevice, config: unknown, stages: readonly FinishedStage[], finished: object) {
  const [{ steps, seconds, loss, told }] = stages as readonly [FinishedStage];
  return {
    device: { ...device.backend.device, reason: device.reason },
    versions: versions(),
    config,
    steps,
    seconds: tenths(seconds),
    loss,
    ...told,
    ...(stages.length > 1 && {
      stages: stages.map(({ name, seconds, loss }) => ({ name, seconds: tenths(seconds), loss })),
    }),
    ...finished,
  };
}

const tenths = (x: number): number => Math.round(x * 10) / 10;
