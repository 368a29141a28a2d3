/** Validation of the weights that a run would write now, on held-out data, at regular steps and after the last. */
import { offloadedModel } from "#several-ranks";
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type Graph, inputName, isParameter, spanned, UsageError } from "../../compiler/index.ts";
import type { ParameterSource } from "../parameter-source.ts";
import type { InferenceSession } from "../session.ts";
import type { WeightParts } from "../sharding/weight-parts.ts";
import type { BestWeights } from "./best-weights.ts";
import { assertFiniteWeights } from "./finite.ts";
import type { Figures } from "./flight.ts";
import { type TrainingJob, unusedParameters, type ValidationRun } from "./job.ts";
import { requireFigures } from "./job-rules.ts";
import type { SharedAverages } from "./runs.ts";
import { startingValue } from "./state.ts";
import { overTrainedWeights, overWeightParts, writtenWeights } from "./written-weights.ts";

export interface Validator {
  isDue(step: number): boolean;
  /** The metrics of a step, named `validation/<name>`; the weights are kept if they are the best so far. */
  figuresAt(step: number): Promise<Figures>;
  dispose(): void;
}

/** What a validator works with. */
interface Place {
  readonly job: TrainingJob;
  readonly backend: Backend;
  readonly store: Store;
  readonly best: BestWeights | undefined;
  readonly note: (text: string) => void;
  /** Present when weights are sharded: all other ranks serve theirs meanwhile. */
  readonly parts?: { readonly weights: WeightParts; readonly bytes: number };
}

/** The other ranks' part while rank 0 validates: serving their shards of the weights, if these are sharded. */
export function servingValidator({ validate, steps }: TrainingJob, weights?: WeightParts): Validator | undefined {
  if (!validate) return undefined;
  const figuresAt = async () => {
    await weights?.serve();
    return {};
  };
  return { isDue: (step) => step % validate.every === 0 || step === steps, figuresAt, dispose: () => {} };
}

/** The same, with the average of all ranks shown meanwhile. */
export const ofAverages = (validator: Validator, averages: SharedAverages, store: Store): Validator => ({
  ...validator,
  figuresAt: async (step) => {
    await averages.show(store);
    const figures = await validator.figuresAt(step);
    await averages.hide(store);
    return figures;
  },
});

/** Undefined when the job has no validation. */
export function openValidator({ job, backend, store, best, note, parts }: Place): Validator | undefined {
  const { validate, steps } = job;
  if (!validate) return undefined;
  const compiled = new Map<Graph, Promise<Executable>>();
  const offloaded = parts && overParts(job, backend, parts);
  const compile = async (graph: Graph): Promise<Executable> => {
    const inputs = new Set(graph.inputs.filter(isParameter).map(inputName));
    for (const node of unusedParameters(job))
      if (inputs.has(inputName(node))) await store.write(inputName(node), await startingValue(job, node));
    return await backend.compile(overTrainedWeights(graph, job.step), { precision: job.step.precision });
  };
  const evaluate: ValidationRun["evaluate"] = async (graph, feeds, options) => {
    if (offloaded) return await offloaded.evaluate(graph, feeds, options);
    let executable = compiled.get(graph);
    if (!executable) compiled.set(graph, (executable = compile(graph)));
    return await (await executable).run(feeds, store, options);
  };
  const weights = async () => {
    const all = await writtenWeights(job, store, parts?.weights);
    assertFiniteWeights(all);
    return all;
  };
  return {
    isDue: (step) => step % validate.every === 0 || step === steps,
    figuresAt: (step) =>
      spanned("steps", `validation after step ${step}`, async () => {
        const find = async () => {
          const figures = await validate.run({ step, backend, evaluate, weights, note });
          requireFigures(figures);
          const isBest = validate.best && (await best?.offer(step, metricOf(figures, validate.best.metric), weights));
          return { figures, isBest };
        };
        const { figures, isBest } = await find().finally(() => parts?.weights.dismiss());
        note(`validation after step ${step}: ${figureText(figures)}${isBest ? ", the best so far" : ""}`);
        return Object.fromEntries(Object.entries(figures).map(([name, x]) => [`validation/${name}`, x]));
      }),
    dispose: () => {
      offloaded?.dispose();
      for (const executable of compiled.values()) void executable.then((e) => e.dispose()).catch(() => {}); // evaluate() reports it
    },
  };
}

/** Runs graphs of the model part by part, over sharded weights. */
function overParts(job: TrainingJob, backend: Backend, { weights, bytes }: NonNullable<Place["parts"]>) {
  const others = new Map(unusedParameters(job).map((n) => [inputName(n), n]));
  const source: ParameterSource = {
    read: async (name) => {
      const node = weights.has(name) ? undefined : others.get(name);
      return node ? await startingValue(job, node) : await weights.ask(name);
    },
  };
  const model = offloadedModel(backend, source, { memory: 2 * bytes, precision: job.step.precision });
  const sessions = new Map<Graph, Promise<InferenceSession>>();
  const evaluate: ValidationRun["evaluate"] = async (graph, feeds, options) => {
    const session = sessions.get(graph) ?? model.session(overWeightParts(graph, job.step));
    sessions.set(graph, session);
    return await (await session).run(feeds, options);
  };
  return { evaluate, dispose: () => model.dispose() };
}

function metricOf(figures: Figures, metric: string): number {
  const value = figures[metric];
  if (value !== undefined) return value;
  throw new UsageError(
    `validation returned ${Object.keys(figures).join(", ") || "no metrics"}, but the best weights are chosen by "${metric}"`,
  );
}

const figureText = (figures: Figures): string =>
  Object.entries(figures)
    .map(([name, x]) => `${name} ${Number(x.toPrecision(4))}`)
    .join(", ");
