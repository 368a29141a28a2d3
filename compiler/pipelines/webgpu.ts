/** The pipeline from a graph to WebGPU kernels. */
import { type AnyStage, type Form, graphForm, graphStage, type RunOptions, runStages, stage } from "../driver/index.ts";
import {
  type CoresidentProgram,
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

/** Nodes that are not decomposed for WebGPU: those with a kernel of their own, and everything that is not composite. */
const keepsOn =
  (facts: AdapterFacts) =>
  (node: Node): boolean => {
    const core = coreOf(node);
    if (core?.kind === "attention") return hasAttentionKernel(node, facts);
    return core !== undefined || opRecord(node.op).kind !== "composite";
  };

/** Nodes of a graph that are not decomposed: also in-place updates of a range of a state. */
const keepsIn = (facts: AdapterFacts) => (graph: Graph) => {
  const keeps = keepsOn(facts);
  const states = overwritableStates(graph);
  return (node: Node): boolean => {
    const over = overwritingOf(node);
    return over ? states.has(over.kept) : keeps(node);
  };
};

const kernelCount = ({ kernels }: { readonly kernels: readonly unknown[] }): string => `${kernels.length} kernels`;

/** Which nodes are computed in which kernel. The verifier checks that kernels only read what was written before. */
export const planForm: Form<FusionPlan> = {
  name: "fusion plan",
  print: printPlan,
  verify: verifyPlan,
  size: kernelCount,
  same: samePlan,
  parse: parsePlan,
};

const memoryForm: Form<PlannedMemory> = {
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

/** Verified after each stage only at CHECK=all, to find the stage that breaks a kernel: it takes 15 % of a compile. */
const loweredForm: Form<LoweredPlan> = {
  name: "kernels",
  print: printLowered,
  verify: (plan, stage, check) => check === "all" && verifyLowered(plan, stage),
  size: ({ lowered }) => `${lowered.size} shapes of kernels`,
};

/** Each kernel shape is verified once on every compile: this takes 4 % of it. */
export const programForm: Form<Program> = {
  name: "program",
  print: printProgram,
  verify: verifyProgram,
  size: kernelCount,
};

/** How products are distributed. CPU threads count as one processor, since they take tiles dynamically. */
const productsOn = ({ software, multiprocessors, matrices }: AdapterFacts): ProductsOn => ({
  processors: software ? 1 : (multiprocessors ?? 128),
  halves: matrices.some(({ operands, result }) => operands === "f16" && result === "f32") ? "matrices" : "scalars",
});

/**
 * Products whose results are at least this large are chunked: 256 MiB, or a sixteenth of the memory budget if less.
 * Smaller ones are not worth it, since each chunk adds one more kernel of each kind.
 */
const chunkLimits = (memory: number | undefined): ChunkLimits => ({
  least: Math.min(2 ** 28, (memory ?? Number.POSITIVE_INFINITY) / 16),
});

/** Kernels compute in f32 registers; f16 is used for tensors in memory and operands of matrix units. */
const inMemory = (facts: AdapterFacts): HalfOptions => ({ isWhole: keepsOn(facts), parameters: "as_given" });

/** Values that are stored as f16 if an adapter computes in f16; the same on all ranks, whatever their adapters. */
export const halvesInMemory = (graph: Graph): ReadonlySet<Node> => halfValues(graph, inMemory(baselineFacts));

/** How contraction schedules make and read rows: whole, or in parts. */
const rowLimits = (schedules: ScheduleTables, facts: AdapterFacts) => ({
  rowTiles: rowTilesOf(schedules, facts),
  rowParts: rowPartsOf(schedules, facts),
});

/** All stages for an adapter. The comments in the lists below say what each stage needs from the earlier ones. */
export const webgpuStages = (
  facts: AdapterFacts,
  schedules: ScheduleTables = scheduleTables,
  precision: Precision = "f32",
  findings?: Findings,
  memory?: number,
  beside?: readonly CoresidentProgram[],
): readonly AnyStage[] => [
  ...planningStages(facts, { schedules, precision, findings, memory, beside }),
  ...loweringStages(facts),
];

/** The stages from a graph to chosen schedules. */
export const planningStages = (
  facts: AdapterFacts,
  { schedules = scheduleTables, precision = "f32", findings, memory, beside }: PlanningOptions,
): readonly AnyStage[] => [
  ...commonPasses.map(graphStage), // first: canonicalize would merge the sums that split-reductions splits
  graphStage(halfPrecision(precisionPath(facts, { precision }, schedules).computes, inMemory(facts))), // while attention is one node
  graphStage(joinPads), // after canonicalize, which would rewrite some joined ranges
  graphStage(decomposeFor(keepsIn(facts))), // after fuse-attention, which matches whole softmax and contraction nodes
  graphStage(chunkProducts(chunkLimits(memory))), // after decompose, which expands losses; before products are split
  graphStage(splitStrides), // after canonicalize, which turns a convolution's gradient into a product of windows
  graphStage(splitContractions(productsOn(facts))), // after decompose, which creates the products of gradients
  graphStage(splitKeys), // before fusion, which would otherwise make it one kernel
  graphStage(splitReductions), // after decompose, which creates most sums
  stage("fusion", graphForm, planForm, (graph) => fuseForUpdates(graph, facts, rowLimits(schedules, facts))), // needs primitives only
  stage("in-place", planForm, planForm, (plan) => updateInPlace(plan, facts, rowLimits(schedules, facts))), // before order: readers of a state run before its writer
  stage("order", planForm, planForm, orderKernels, ["in-place"]),
  stage("rematerialize", planForm, planForm, (plan) => rematerialize(plan, memory, beside), ["order"]), // the order decides what is idle at the peak
  stage("memory", planForm, memoryForm, planMemory, ["order"]), // lifetimes follow from the order
  stage("schedule", memoryForm, scheduleForm, (plan) => schedulePlan(plan, facts, schedules, findings)),
];

/** The stages from chosen schedules to kernels. */
export const loweringStages = (facts: AdapterFacts): readonly AnyStage[] => [
  stage("lower", scheduleForm, loweredForm, lowerPlan),
  stage("vectorize", loweredForm, loweredForm, (plan) => mapKernels(plan, vectorize)), // before hoist, which binds loads to lets
  stage("hoist", loweredForm, loweredForm, (plan) => mapKernels(plan, hoist), ["vectorize"]),
  stage("keep-loops", loweredForm, loweredForm, (plan) => (facts.software ? mapKernels(plan, keepLoops) : plan), [
    "hoist",
  ]), // last: the others only know the bounds of loops that start at 0
  stage("kernels", loweredForm, programForm, assembleProgram),
];

/** What kernel selection depends on besides the adapter. */
export type PlanningOptions = {
  readonly [K in "schedules" | "precision" | "findings" | "memory" | "beside"]?: KernelOptions[K] | undefined;
};

export interface KernelOptions extends RunOptions {
  /** The schedules for every kind of kernel; default: the built-in tables. `withSchedule` adds one. */
  readonly schedules?: ScheduleTables;
  /** Autotuning results for the adapter; used where they are still valid. */
  readonly findings?: Findings;
  /**
   * The float type of most of the work; default "f32". "f16" falls back to f32 on adapters without shader-f16:
   * `precisionPath` reports which is used.
   */
  readonly precision?: Precision;
  /**
   * Budget in bytes for all buffers of the program; to stay within it, values are rematerialized instead of kept.
   * Symbolic sizes count as a typical value, which is at most their upper bound.
   */
  readonly memory?: number;
  /** Programs that are in memory at the same time and run before or after; `memory` is the budget for all of them. */
  readonly beside?: readonly CoresidentProgram[];
}

/**
 * Compiles a graph to kernels. Needs no device; time is linear in the size of the graph. Symbolic sizes stay open until
 * a run. Throws UnsupportedError for what no kernel can do on the adapter.
 */
export const compileKernels = (
  graph: Graph,
  facts: AdapterFacts = baselineFacts,
  { schedules, precision, findings, memory, beside, ...options }: KernelOptions = {},
): Program =>
  runStages(graph, webgpuStages(facts, schedules, precision, findings, memory, beside), programForm, options);
