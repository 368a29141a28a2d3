/**
 * Multi-stage training: a job's own training, then its following stages, each initialized from the weights of the one
 * before.
 */
import { join } from "#host";
import { factsOf, requireSame } from "#several-ranks";
import { UsageError } from "../../compiler/index.ts";
import type { Json } from "../checkpoint/state-file.ts";
import { oneRank, type Ranks } from "../collectives/index.ts";
import { quoted } from "../file-errors.ts";
import { isThere, makeFolder } from "../files.ts";
import { readFinished, writeFinished } from "./finished-stage.ts";
import { type Inheritance, inheritWeights } from "./inherit.ts";
import { type FinishedStage, type NextStage, type TrainedRun, type TrainingJob, unusedParameters } from "./job.ts";
import { jsonResult, requireBuilt } from "./job-rules.ts";
import { requireRunName, tidyRunFolder } from "./run-folder.ts";
import { keptParameters } from "./state.ts";
import { type TrainOptions, type TrainResult, train } from "./train.ts";

export interface StagesOptions extends TrainOptions {
  /** Why this device was chosen, for display. */
  readonly deviceReason: string;
}

export type StagesResult =
  | { readonly stopped: true; readonly stage: string; readonly steps: number; readonly of: number }
  | {
      readonly stopped: false;
      /** The job's own training first. */
      readonly stages: readonly FinishedStage[];
      /** The merged results of all `finish` functions; for equal keys, the last wins. */
      readonly finished: Readonly<Record<string, Json>>;
    };

/**
 * Trains a job and its following stages, and finishes each. The first uses `folder`, the others subfolders by their
 * names, each with its own checkpoints, metrics and weights. A finished stage is marked in its folder, and a resumed
 * run does not train it again. Throws UsageError for stages with equal names, and for a finished one whose number of
 * steps was changed, since later stages started from its weights.
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
      if (next) await turn.job.dispose?.(); // the first job is disposed of by its builder
    }
  }
  return resultOf(done);
}

const resultOf = (stages: readonly FinishedStage[]): StagesResult => ({
  stopped: false,
  stages,
  finished: Object.assign({}, ...stages.map((s) => s.result)) as Readonly<Record<string, Json>>,
});

/** A stage that is due. */
interface Turn {
  readonly name: string;
  readonly folder: string;
  readonly job: TrainingJob;
  readonly resume: boolean;
}

/** Trains and finishes a stage. */
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
    const result = jsonResult(await job.finish?.(run), `finish of ${name}`, note) ?? {};
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

/** A later stage, with the weights that it starts from, read on demand. */
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
  const job = requireBuilt(await build(), `the stage ${quoted(name)}`);
  const inheritance = await inheritWeights(parametersOf(job), [before.folder], job.checkpoints);
  const initial: TrainingJob["initial"] = async (parameter) =>
    (await inheritance.initial(parameter)) ?? (await job.initial?.(parameter));
  return { turn: { name, folder, job: { ...job, initial }, resume }, inheritance };
}

/** All parameters in a job's weights. */
const parametersOf = (job: TrainingJob) => [
  ...job.step.trained,
  ...job.step.frozen,
  ...keptParameters(job.step),
  ...unusedParameters(job),
];

/** Names reserved in a run's folder: its other folders, and what its files end in. */
const taken: readonly string[] = ["best", "checkpoints", "events"];
const takenEndings = /\.(?:json|jsonl|html|safetensors|tmp)$/;

function requireStageNames(following: readonly NextStage[]): void {
  const names = following.map(({ name }) => name);
  for (const [i, name] of names.entries()) {
    requireRunName(name);
    if (taken.includes(name) || takenEndings.test(name) || names.indexOf(name) !== i)
      throw new UsageError(
        `invalid stage name ${quoted(name)}: it names a folder in the run's folder, which has a folder or file of that name already`,
      );
  }
}
