/** `heddle train`: runs a job, shows its progress, leaves a run folder. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Precision, UsageError } from "../../compiler/index.ts";
import { internvlCheckpoints } from "../../models/index.ts";
import {
  freshRunFolder,
  type Inheritance,
  inheritWeights,
  keptParameters,
  newestRunFolder,
  type RunSource,
  readSources,
  requireSameSources,
  type TrainingJob,
  type TrainResult,
  train,
  unusedParameters,
  writeFileAtomically,
  writeSources,
} from "../../runtime/index.ts";
import { type ChosenDevice, openDevice, parseDevice } from "../device.ts";
import { interrupted } from "../interruption.ts";
import { loadJob } from "../load.ts";
import { json } from "../output.ts";
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
  readonly json: boolean;
}

export async function trainCommand(source: string, args: TrainArguments): Promise<number> {
  const say = (text: string) => process.stderr.write(`${text}\n`);
  const { job, config } = await loadJob(source, args.set, args.precision);
  const device = await openDevice(parseDevice(args.device), args);
  const stop = stopOnSignals(say);
  let inheritance: Inheritance | undefined;
  try {
    say(`${job.name}: ${job.summary}`);
    say(`device: ${device.reason}`);
    if (device.backend.device.software)
      say("this device imitates a GPU in software and is slow: --set steps=20 shows the path without the wait");
    const declared = await job.build(config);
    const resumed = args.resume ? await newestRunFolder(args.runs, job.name) : undefined;
    // A checkpoint holds all that is trained; what is not comes from the sources again.
    const isWhole = declared.step.frozen.length + unusedParameters(declared).length === 0;
    const began = resumed === undefined || (isWhole && args.from.length === 0) ? [] : await readSources(resumed);
    inheritance = await inherit(declared, args.from.length > 0 ? args.from : pathsOf(began));
    for (const line of inheritance?.report ?? []) say(line);
    if (resumed !== undefined) requireSameSources(began, inheritance?.sources ?? []);
    const folder = resumed ?? (await freshRunFolder(args.runs, job.name));
    if (inheritance && resumed === undefined) await writeSources(folder, inheritance.sources);
    const built = inheritance ? startingFrom(inheritance, declared) : declared;
    say(`run folder: ${folder}`);
    const options = { folder, backend: device.backend, resume: args.resume, signal: stop.signal, note: say };
    const result = await train(built, options);
    if (result.stopped) {
      say(`stopped after step ${result.steps} of ${built.steps}, saved. Go on with: heddle train ${source} --resume`);
      return interrupted;
    }
    const finished = await built.finish?.({
      folder,
      backend: device.backend,
      deviceReason: device.reason,
      weights: result.weights,
      losses: result.losses,
      seconds: result.seconds,
      note: say,
    });
    const summary = summarize(device, config, result, { ...computedIn(device, built), ...finished });
    await writeFileAtomically(join(folder, "summary.json"), `${json(summary)}\n`);
    process.stdout.write(args.json ? `${json(summary)}\n` : `summary: ${join(folder, "summary.json")}\n`);
    return 0;
  } finally {
    stop.dispose();
    await inheritance?.dispose();
    device.backend.dispose();
  }
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
    ...finished,
  };
}

/** The first Ctrl-C ends the run after the step at hand; the second ends the process at once. */
function stopOnSignals(say: (text: string) => void) {
  const controller = new AbortController();
  const handler = () => {
    if (controller.signal.aborted) process.exit(interrupted);
    say("\nstopping after this step; press Ctrl-C again to stop at once");
    controller.abort();
  };
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, handler);
  const dispose = () => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, handler);
  };
  return { signal: controller.signal, dispose };
}
