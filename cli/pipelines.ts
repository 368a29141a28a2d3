/** The pass pipelines from a graph to each target, for commands that show them. */
import { type ExportOptions, onnxStages, settledOptions } from "../backends/onnx/index.ts";
import {
  type AdapterFacts,
  type AnyStage,
  bindSizes,
  didYouMean,
  type Graph,
  globMatches,
  type RunOptions,
  referenceStages,
  runStages,
  type Sizes,
  UsageError,
  webgpuStages,
} from "../compiler/index.ts";
import { keptAs, precisionFor } from "./precision.ts";

/** A pipeline with its input graph. */
interface Pipeline {
  readonly graph: Graph;
  readonly stages: readonly AnyStage[];
}

export interface PipelineChoice {
  readonly sizes: Sizes;
  /** Storage dtype of the weights; "f16" is also the compute dtype, and the others are for export too. */
  readonly dtype: NonNullable<ExportOptions["dtype"]>;
  /** The adapter that WebGPU's kernels target. */
  readonly facts: AdapterFacts;
}

const pipelines: Readonly<Record<string, (graph: Graph, choice: PipelineChoice) => Pipeline>> = {
  webgpu: (graph, { sizes, dtype, facts }) => ({
    graph: keptAs(bindSizes(graph, sizes), dtype),
    stages: webgpuStages(facts, undefined, precisionFor(dtype)),
  }),
  onnx: (graph, { dtype }) => ({
    graph,
    stages: onnxStages(settledOptions({ dtype })),
  }),
  reference: (graph, { sizes }) => ({ graph, stages: referenceStages(sizes) }),
};

/** The pipeline to a target. Throws UsageError for an unknown target. */
export function pipelineTo(target: string, graph: Graph, choice: PipelineChoice): Pipeline {
  const names = Object.keys(pipelines);
  const pipeline = Object.hasOwn(pipelines, target) ? pipelines[target] : undefined;
  if (!pipeline)
    throw new UsageError(
      `unknown target "${target}"${didYouMean(target, names) || "."} Known targets: ${names.join(", ")}.`,
    );
  return pipeline(graph, choice);
}

/** Throws UsageError, naming all stages of the pipeline, for a name or pattern of none. */
export function assertStage(target: string, { stages }: Pipeline, name: string): void {
  const known = stages.map((s) => s.name);
  if (known.some((one) => globMatches(name, one))) return;
  throw new UsageError(
    `the pipeline to ${target} has no stage "${name}"${didYouMean(name, known) || "."} Its stages are ${known.join(", ")}.`,
  );
}

export const runPipeline = ({ graph, stages }: Pipeline, options: RunOptions): unknown =>
  runStages(graph, stages, stages.at(-1)!.to, options);
