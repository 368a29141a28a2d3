/** A fingerprint of a run's step, stored in its folder: continuing with another step would mix two different runs. */
import { join } from "#host";
import { printGraph, UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { fileError } from "../file-errors.ts";
import { readText, writeFileAtomically } from "../files.ts";
import { sha256 } from "../sha256.ts";
import type { TrainingJob } from "./job.ts";

const fileName = "step.json";

/** What the results of a run depend on, by display name. */
type StepFacts = Readonly<Record<string, string>>;

/** Graphs are compared by digest, since they may be long; optimizer settings are stored as they are. */
async function factsOf({ step, sizes }: TrainingJob): Promise<StepFacts> {
  const { graph, accumulation } = step;
  const graphs = [graph, accumulation?.update, accumulation?.cached?.features, accumulation?.cached?.middle];
  const texts = graphs.flatMap((g) => (g ? [printGraph(g)] : []));
  const counted = Object.entries(sizes).map(([name, size]) => [name, String(size)]);
  return {
    ...step.hyperparameters,
    ...Object.fromEntries(counted),
    "micro-batches": String(accumulation?.count ?? 1),
    [graphsFact]: await sha256(texts.join("\n")),
  };
}

const graphsFact = "graphs";

/**
 * Stores a run's facts. When it resumes from a checkpoint (`isJudged`), they are first compared with those stored
 * before: throws UsageError when they differ.
 */
export async function keepRunStep(folder: string, job: TrainingJob, { isJudged }: { readonly isJudged: boolean }) {
  if (isJudged) await requireSameStep(folder, job);
  await writeFileAtomically(join(folder, fileName), `${JSON.stringify(await factsOf(job), null, 2)}\n`);
}

/**
 * Throws one UsageError listing everything that has changed since the run in `folder` began: optimizer settings, sizes,
 * the model, the loss. A folder without stored facts, such as the command line's, is not checked.
 */
async function requireSameStep(folder: string, job: TrainingJob): Promise<void> {
  const began = await readRunStep(folder);
  if (!began) return;
  const now = await factsOf(job);
  const names = [...new Set([...Object.keys(began), ...Object.keys(now)])];
  const changed = names.filter((name) => began[name] !== now[name]);
  if (changed.length === 0) return;
  const told = changed
    .filter((name) => name !== graphsFact)
    .map((name) => `${name} was ${began[name] ?? "nothing"} and is now ${now[name] ?? "nothing"}`);
  const what = told.length > 0 ? told.join("; ") : "its model, loss or optimizer changed";
  throw new UsageError(
    `the run in ${folder} does not belong to this training: ${what}\n  hint: resume with the original training, or use another folder; to resume with the current one anyway, remove ${fileName}`,
  );
}

async function readRunStep(folder: string): Promise<StepFacts | undefined> {
  const path = join(folder, fileName);
  const text = await readText(path);
  if (text === undefined) return undefined;
  try {
    const facts: unknown = JSON.parse(text);
    if (isRecord(facts)) return facts as StepFacts;
  } catch {
    // reported below
  }
  throw fileError(path, "it does not describe what a run computes", "remove it to continue without this check");
}
