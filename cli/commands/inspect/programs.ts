/** Compiles a graph for a named adapter, without having one. */
import {
  type AdapterFacts,
  bindSizes,
  compileKernels,
  type Graph,
  type PrecisionPath,
  type Program,
  precisionPath,
  type Sizes,
} from "../../../compiler/index.ts";
import { adapterNamed } from "../../adapters.ts";
import { bytesOnly } from "../../memory-budget.ts";
import type { PipelineChoice } from "../../pipelines.ts";
import { keptAs, precisionFor, weightDtype } from "../../precision.ts";
import type { InspectArguments } from "./arguments.ts";

/** The pipeline options of the arguments. */
export const choiceOf = (sizes: Sizes, { dtype, adapter }: InspectArguments): PipelineChoice => ({
  sizes,
  dtype: weightDtype(dtype),
  facts: adapterNamed(adapter).facts,
});

/** The precision of a graph on the named adapter; parameters that a step updates stay f32. */
export const pathOf = (graph: Graph, args: InspectArguments): PrecisionPath =>
  pathOn(adapterNamed(args.adapter).facts, graph, args);

export const pathOn = (facts: AdapterFacts, { updates }: Graph, { dtype }: InspectArguments): PrecisionPath =>
  precisionPath(facts, {
    precision: precisionFor(dtype),
    ...(Object.keys(updates).length > 0 && { parameters: "f32" }),
  });

export const compiled = (
  graph: Graph,
  sizes: Sizes,
  { dtype, adapter, memory }: InspectArguments,
  beside: readonly Program[] = [],
): Program =>
  compileKernels(keptAs(bindSizes(graph, sizes), weightDtype(dtype)), adapterNamed(adapter).facts, {
    precision: precisionFor(dtype),
    ...(memory && { memory: bytesOnly(memory), beside }),
  });
