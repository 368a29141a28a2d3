/** The subject of `heddle inspect`: a model's graph, the training step of a stage, or that of a job. */
import { countMacs, type Graph, graphSymbols, UsageError } from "../../../compiler/index.ts";
import type { Model } from "../../../dsl/index.ts";
import { sizesInWords } from "../../family-name.ts";
import { type GraphChoice, loadConfigured } from "../../load.ts";
import { sizesOf } from "../../sizes.ts";
import { parameterFigures, stageSettings } from "../../stage-figures.ts";
import { stageStep } from "../../stage-step.ts";
import { jobSubject, samples, type TrainingSubject } from "../../training-subject.ts";
import type { InspectArguments, InspectOptions } from "./arguments.ts";
import type { Inspection } from "./figures.ts";

export interface Subject {
  readonly graph: Graph;
  readonly parts: Partial<Inspection>;
  readonly step?: TrainingSubject["step"];
  /** The options, with those that the subject sets itself. */
  readonly args: InspectArguments;
}

/** A user's job, at its own sizes and precision unless the options set others. */
export async function inspectedJob(source: string, options: InspectOptions): Promise<Subject> {
  const { stage, graph: named, dtype } = options;
  if (named !== undefined)
    throw new UsageError(`--graph applies to models only; "${source}" is a job, whose training step is inspected`);
  if (dtype !== "f32") throw new UsageError(`--dtype applies to models only; for a job, use --set precision=${dtype}`);
  const job = await jobSubject(source, { set: options.set, size: [], ...(stage !== undefined && { stage }) });
  const { graph, precision } = job.step;
  const open = graphSymbols(graph).filter((name) => job.sizes[name] !== undefined);
  const { batch } = options;
  const own = open
    .filter((name) => batch === undefined || name !== samples)
    .map((name) => `${name}=${job.sizes[name]}`);
  const args = { ...options, dtype: precision, batch: batch ?? 1, size: [...own, ...options.size] };
  return {
    graph,
    step: job.step,
    parts: { ...stageParts(job, stage ?? job.name), ...(job.following && { following: job.following }) },
    args,
  };
}

/** The figures of a training step that its graph does not have. */
function stageParts(subject: Pick<TrainingSubject, "step" | "model">, stage: string): Partial<Inspection> {
  const { all, tensors, buffers, byGroup, trained, trainedTensors } = parameterFigures(subject);
  return {
    model: subject.step.graph.name,
    parameters: all,
    tensors,
    ...(buffers > 0 && { buffers }),
    parametersByGroup: byGroup,
    trainable: { stage, parameters: trained, tensors: trainedTensors },
    settings: stageSettings(subject.step),
  };
}

/** The graph to inspect, and for a stage its training step. */
export async function subject(source: string, args: InspectArguments): Promise<Subject> {
  const named = await loadConfigured(source, { ...args, weights: undefined });
  const { graph, config, model } = named;
  if (args.stage === undefined) {
    const macs = args.graph === undefined ? model?.paper?.macs : undefined;
    const paper = macs && config ? macs(config) : null;
    const words = model && sizesInWords(model);
    const parts = { macs: { exact: countMacs(graph, sizesOf(graph, args)), paper } };
    return {
      graph,
      parts: { ...parts, ...(words !== undefined && { settingsInWords: words }), graphs: otherGraphs(model, args) },
      args,
    };
  }
  const asked = args.dtype === "f16" ? "f16" : undefined; // f32 is also what --dtype is if it is not given
  const { step, model: whole } = stageStep(source, args.stage, named, args.graph, asked);
  const parts = { ...stageParts({ step, model: whole() }, args.stage), model: graph.name };
  return { graph: step.graph, step, parts, args: step.precision === "f16" ? { ...args, dtype: "f16" } : args };
}

/** The other graphs of a model, with descriptions; a bare graph has none. */
function otherGraphs(model: Model | undefined, { graph }: GraphChoice): Record<string, string> {
  const graphs = graph === undefined ? (model?.graphs ?? {}) : {};
  return Object.fromEntries(Object.entries(graphs).map(([name, { summary }]) => [name, summary]));
}
