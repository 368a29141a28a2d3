/** The pipeline from a graph to WebGPU kernels: the readable list of stages, in order. */
import { type AnyStage, type Form, graphForm, graphStage, type RunOptions, runStages, stage } from "../driver/index.ts";
import {
  type Beside,
  type FusionPlan,
  orderKernels,
  overwritableStates,
  type PlannedMemory,
  parsePlan,
  planMemory,
  printMemory,
  printPlan,
  rematerialize,
  samePlan,
  verifyPlan,
} from "../fusion/index.ts";
import type { Graph } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { coreOf, opRecord, overwritingOf } from "../ir/op.ts";
import { hoist, keepLoops, vectorize } from "../kernel/index.ts";
import {
  type AdapterFacts,
  assembleProgram,
  baselineFacts,
  type Findings,
  fuseForUpdates,
  hasAttentionKernel,
  type LoweredPlan,
  lowerPlan,
  mapKernels,
  type Program,
  printLowered,
  printProgram,
  printSchedules,
  rowPartsOf,
  rowTilesOf,
  type ScheduledPlan,
  type ScheduleTables,
  schedulePlan,
  scheduleTables,
  updateInPlace,
  verifyLowered,
  verifyProgram,
} from "../lowering/index.ts";
import {
  type ChunkLimits,
  chunkProducts,
  decomposeFor,
  type HalfOptions,
  halfPrecision,
  halfValues,
  joinPads,
  type Precision,
  type ProductsOn,
  splitContractions,
  splitKeys,
  splitReductions,
  splitStrides,
} from "../passes/index.ts";
import { commonPasses } from "./common.ts";
import { precisionPath } from "./precision.ts";

/** What the WebGPU backend keeps whole: what has a kernel, or is no composite. */
const keepsOn =
  (facts: AdapterFacts) =>
  (node: Node): boolean => {
    const core = coreOf(node);
    if (core?.kind === "attention") return hasAttentionKernel(node, facts);
    return core !== undefined || opRecord(node.op).kind !== "composite";
  };

/** What is kept of a graph: beside these, ranges of states that are stored over them. */
const keepsIn = (facts: AdapterFacts) => (graph: Graph) => {
  const keeps = keepsOn(facts);
  const states = overwritableStates(graph);
  return (node: Node): boolean => {
    const over = overwritingOf(node);
    return over ? states.has(over.kept) : keeps(node);
  };
};

const kernelCount = ({ kernels }: { readonly kernels: readonly unknown[] }): string => `${kernels.length} kernels`;

/** Which nodes are computed in which kernel. Verified, whatever made it, to read only what was written before. */
export const planForm: Form<FusionPlan> = {
  name: "fusion plan",
  print: printPlan,
  verify: verifyPlan,
  size: kernelCount,
  same: samePlan,
  parse: parsePlan,
};

export const memoryForm: Form<PlannedMemory> = {
  name: "memory plan",
  print: printMemory,
  verify: verifyPlan,
  size: ({ plan }) => `${plan.slots.length} slots`,
};

export const scheduleForm: Form<ScheduledPlan> = {
  name: "schedules",
  print: printSchedules,
  verify: () => {},
  size: ({ choices }) => `${choices.size} shapes of kernels`,
};

/** Verified after each stage at CHECK=all, which then says what stage breaks a kernel: it takes 15 % of a compile. */
export const loweredForm: Form<LoweredPlan> = {
  name: "kernels",
  print: printLowered,
  verify: (plan, stage, check) => check === "all" && verifyLowered(plan, stage),
  size: ({ lowered }) => `${lowered.size} shapes of kernels`,
};

/** Every kernel is verified on every compile, once for each shape: it takes 4 % of it. */
export const programForm: Form<Program> = {
  name: "program",
  print: printProgram,
  verify: verifyProgram,
  size: kernelCount,
};

/** Who shares a product's tiles out: CPU threads are as good as one processor, since they take tiles as they come. */
const productsOn = ({ software, multiprocessors, matrices }: AdapterFacts): ProductsOn => ({
  processors: software ? 1 : (multiprocessors ?? 128),
  halves: matrices.some(({ operands, result }) => operands === "f16" && result === "f32") ? "matrices" : "scalars",
});

/**
 * Products from which on chunks pay: as large as what lies beside them is not, and of a budget no small part. Each chunk is
 * one more kernel of each kind.
 */
const chunkLimits = (memory: number | undefined): ChunkLimits => ({
  least: Math.min(2 ** 28, (memory ?? Number.POSITIVE_INFINITY) / 16),
});

/** What a kernel computes is f32 in registers: f16 is what lies in memory, and what matrix units are given. */
const inMemory = (facts: AdapterFacts): HalfOptions => ({ isWhole: keepsOn(facts), parameters: "as_given" });

/** Values of a graph that lie in memory as f16 where an adapter computes in it; the same for ranks of different adapters. */
export const halvesInMemory = (graph: Graph): ReadonlySet<Node> => halfValues(graph, inMemory(baselineFacts));

/** How products make and read rows: whole, or in parts. */
const rowLimits = (schedules: ScheduleTables, facts: AdapterFacts) => ({
  rowTiles: rowTilesOf(schedules, facts),
  rowParts: rowPartsOf(schedules, facts),
});

/** The stages for an adapter and the schedules there are; each says what it needs from those before it. */
export const webgpuStages = (
  facts: AdapterFacts,
  schedules: ScheduleTables = scheduleTables,
  precision: Precision = "f32",
  findings?: Findings,
  memory?: number,
  beside?: readonly Beside[],
): readonly AnyStage[] => [
  ...planningStages(facts, { schedules, precision, findings, memory, beside }),
  ...loweringStages(facts),
];

/** From a graph to the choice of schedules. */
export const planningStages = (
  facts: AdapterFacts,
  { schedules = scheduleTables, precision = "f32", findings, memory, beside }: PlanningOptions,
): readonly AnyStage[] => [
  ...commonPasses.map(graphStage), // first: canonicalize would merge the sums that split-reductions takes apart
  graphStage(halfPrecision(precisionPath(facts, { precision }, schedules).computes, inMemory(facts))), // while attention is one node
  graphStage(joinPads), // after canonicalize, which would spell some joined ranges otherwise
  graphStage(decomposeFor(keepsIn(facts))), // after fuse-attention, which needs softmax and contractions whole
  graphStage(chunkProducts(chunkLimits(memory))), // after decompose, which spells out losses; before others cut products
  graphStage(splitStrides), // after canonicalize, which makes a convolution's gradient a product of windows
  graphStage(splitContractions(productsOn(facts))), // after decompose, which makes products of gradients
  graphStage(splitKeys), // before fusion, which would else make one kernel of it
  graphStage(splitReductions), // after decompose, which makes most sums
  stage("fusion", graphForm, planForm, (graph) => fuseForUpdates(graph, facts, rowLimits(schedules, facts))), // needs primitives only
  stage("in-place", planForm, planForm, (plan) => updateInPlace(plan, facts, rowLimits(schedules, facts))), // before the order: who reads a state runs before who overwrites it
  stage("order", planForm, planForm, orderKernels, ["in-place"]),
  stage("rematerialize", planForm, planForm, (plan) => rematerialize(plan, memory, beside), ["order"]), // what lies idle at the peak follows from the order
  stage("memory", planForm, memoryForm, planMemory, ["order"]), // lifetimes follow from the order
  stage("schedule", memoryForm, scheduleForm, (plan) => schedulePlan(plan, facts, schedules, findings)),
];

/** From the choice of schedules to kernels. */
export const loweringStages = (facts: AdapterFacts): readonly AnyStage[] => [
  stage("lower", scheduleForm, loweredForm, lowerPlan),
  stage("vectorize", loweredForm, loweredForm, (plan) => mapKernels(plan, vectorize)), // before hoist, which gives names to the loads that it looks for
  stage("hoist", loweredForm, loweredForm, (plan) => mapKernels(plan, hoist), ["vectorize"]),
  stage("keep-loops", loweredForm, loweredForm, (plan) => (facts.software ? mapKernels(plan, keepLoops) : plan), [
    "hoist",
  ]), // last: the others know the bounds of loops that begin at 0
  stage("kernels", loweredForm, programForm, assembleProgram),
];

/** What the choice of kernels depends on beside the adapter. */
export type PlanningOptions = {
  readonly [K in "schedules" | "precision" | "findings" | "memory" | "beside"]?: KernelOptions[K] | undefined;
};

export interface KernelOptions extends RunOptions {
  /** The schedules of every kind of kernel, where they are not the product's: `withSchedule` adds one. */
  readonly schedules?: ScheduleTables;
  /** What timing on the adapter has shown: honoured where it still fits. */
  readonly findings?: Findings;
  /**
   * In which floats most of the work is done; default "f32". "f16" needs adapters with that feature, and is f32 on others:
   * `precisionPath` says which it is.
   */
  readonly precision?: Precision;
  /**
   * Bytes that all buffers of the program may take: where they would take more, values are computed again instead of kept.
   * Sizes that are open until a run count as the most that they may be, or as a usual number.
   */
  readonly memory?: number;
  /** Programs that lie in memory at the same time and run before or after: `memory` is for all of them together. */
  readonly beside?: readonly Beside[];
}

/**
 * Compiles a graph to kernels. Needs no device, and takes time in proportion to the graph. Symbolic sizes stay open until
 * a run. Throws UnsupportedError for what no kernel can do on the adapter.
 */
export const compileKernels = (
  graph: Graph,
  facts: AdapterFacts = baselineFacts,
  { schedules, precision, findings, memory, beside, ...options }: KernelOptions = {},
): Program =>
  runStages(graph, webgpuStages(facts, schedules, precision, findings, memory, beside), programForm, options);
