/** Stages in a row: a job's own training, then those that it names, each from the weights of the one before. */
import { join } from "#host";
import { UsageError } from "../../compiler/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { oneRank, type Ranks } from "../collectives/index.ts";
import { quoted } from "../file-errors.ts";
import { isThere, makeFolder } from "../files.ts";
import { readFinished, writeFinished } from "./finished-stage.ts";
import { factsOf, requireSame } from "./in-ranks.ts";
import { type Inheritance, inheritWeights } from "./inherit.ts";
import { type FinishedStage, type NextStage, type TrainedRun, type TrainingJob, unusedParameters } from "./job.ts";
import { requireJson } from "./job-rules.ts";
import { requireRunName, tidyRunFolder } from "./run-folder.ts";
import { keptParameters } from "./state.ts";
import { type TrainOptions, type TrainResult, train } from "./train.ts";

export interface StagesOptions extends TrainOptions {
  /** Why this device was taken, for people. */
  readonly deviceReason: string;
}

export type StagesResult =
  | { readonly stopped: true; readonly stage: string; readonly steps: number; readonly of: number }
  | {
      readonly stopped: false;
      /** The job's own training first. */
      readonly stages: readonly FinishedStage[];
      /** What all `finish` gave; of a key that several give, the last. */
      readonly finished: Readonly<Record<string, Json>>;
    };

/**
 * Trains a job and the stages after it, and finishes each. The first one works in `folder`, the others in folders of their
 * names there, each with checkpoints, metrics and weights of its own. A stage that is finished says so in its folder, and a
 * run that goes on does not train it again. Throws UsageError for stages of one name, and for a finished one whose number
 * of steps was changed: those after it began with its weights.
 */
export async function trainInStages(job: TrainingJob, options: StagesOptions): Promise<StagesResult> {
  const { folder, note, ranks = oneRank } = options;
  const following = job.next ?? [];
  requireStageNames(following);
  const first: Turn = { name: job.step.graph.name, folder, job, resume: options.resume === true };
  if (following.length === 0) {
    const ended = await runTurn(first, [], options);
    return "stopped" in ended ? ended : resultOf([ended]);
  }
  const done: FinishedStage[] = [];
  for (const next of [undefined, ...following]) {
    if (await ranks.decide(() => options.signal?.aborted === true))
      return { stopped: true, stage: next?.name ?? first.name, steps: 0, of: job.steps };
    if (next) note(`stage ${done.length + 1} of ${following.length + 1}: ${next.name}`);
    const inherited = next && (await nextTurn(next, folder, done.at(-1)!, ranks));
    const turn = inherited?.turn ?? first;
    try {
      const readKnown = async () =>
        turn.resume ? await readFinished(turn.folder, turn.name, turn.job.steps) : undefined;
      const known = await ranks.decide(readKnown);
      const ended = known ?? (await runTurn(turn, done, options, inherited?.inheritance));
      if ("stopped" in ended) return ended;
      if (known) note(`${turn.name} is finished: ${known.steps} steps`);
      else if (ranks.isFirst) await writeFinished(ended);
      done.push(ended);
    } finally {
      await inherited?.inheritance.dispose();
      if (next) await turn.job.dispose?.(); // of the job's own training, who built it disposes
    }
  }
  return resultOf(done);
}

const resultOf = (stages: readonly FinishedStage[]): StagesResult => ({
  stopped: false,
  stages,
  finished: Object.assign({}, ...stages.map((s) => s.result)) as Readonly<Record<string, Json>>,
});

/** A stage whose turn has come. */
interface Turn {
  readonly name: string;
  readonly folder: string;
  readonly job: TrainingJob;
  readonly resume: boolean;
}

/** Trains a stage and finishes it. */
async function runTurn(
  { name, folder, job, resume }: Turn,
  earlier: readonly FinishedStage[],
  options: StagesOptions,
  inheritance?: Inheritance,
): Promise<FinishedStage | Extract<StagesResult, { readonly stopped: true }>> {
  const { backend, deviceReason, note, ranks = oneRank } = options;
  if (ranks.collectives.size > 1) await requireSame(ranks, await factsOf(job));
  if (inheritance) for (const line of [...inheritance.report, ...(job.report ?? [])]) note(line);
  const trained = await train(job, { ...options, folder, resume });
  const { steps, seconds, losses, weights } = trained;
  if (trained.stopped) return { stopped: true, stage: name, steps, of: job.steps };
  const run: TrainedRun = { folder, backend, deviceReason, weights, losses, seconds, note, earlier };
  const finished = async (): Promise<FinishedStage> => {
    const result = requireJson(await job.finish?.(run), `finish of ${name}`) ?? {};
    return { name, folder, steps, seconds, losses, loss: endsOf(trained), told: toldOf(trained), result };
  };
  return await ranks.decide(finished);
}

const endsOf = ({ losses }: Pick<TrainResult, "losses">): FinishedStage["loss"] => ({
  first: losses[0]?.loss ?? null,
  last: losses.at(-1)?.loss ?? null,
});

function toldOf({ lost, best, ranks, told }: TrainResult): FinishedStage["told"] {
  const rounded = (share: number): number => Math.round(share * 10_000) / 10_000;
  return {
    ...told,
    lost: { data: rounded(lost.data), readBack: rounded(lost.readBack) },
    ...(ranks && { ranks: { ...ranks } }),
    ...(best && { best: { ...best } }),
  };
}

/** A later stage with the weights that it begins with, which are read when they are asked for. */
async function nextTurn(
  { name, build }: NextStage,
  root: string,
  before: FinishedStage,
  ranks: Ranks,
): Promise<{ readonly turn: Turn; readonly inheritance: Inheritance }> {
  const folder = join(root, name);
  const resume = await ranks.decide(async () => {
    const wasThere = await isThere(folder);
    await makeFolder(folder);
    if (wasThere) await tidyRunFolder(folder);
    return wasThere;
  });
  const job = await build();
  const inheritance = await inheritWeights(parametersOf(job), [before.folder], job.checkpoints);
  const initial: TrainingJob["initial"] = async (parameter) =>
    (await inheritance.initial(parameter)) ?? (await job.initial?.(parameter));
  return { turn: { name, folder, job: { ...job, initial }, resume }, inheritance };
}

/** All that a job's weights hold. */
const parametersOf = (job: TrainingJob) => [
  ...job.step.trained,
  ...job.step.frozen,
  ...keptParameters(job.step),
  ...unusedParameters(job),
];

/** Names that a run's folder has for itself. */
const taken: readonly string[] = ["checkpoints", "events"];

function requireStageNames(following: readonly NextStage[]): void {
  const names = following.map(({ name }) => name);
  for (const [i, name] of names.entries()) {
    requireRunName(name);
    if (taken.includes(name) || names.indexOf(name) !== i)
      throw new UsageError(`a stage cannot be called ${quoted(name)}: its run has another folder of that name`);
  }
}
