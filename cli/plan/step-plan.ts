/** A training step planned for a device: memory by kind, kernels, and the roofline time. */
import {
  type AdapterFacts,
  BudgetError,
  bindSizes,
  type MemoryByKind,
  type PlannedProgram,
  planKernels,
  UnsupportedError,
  UsageError,
} from "../../compiler/index.ts";
import { stepMemory } from "../../dsl/index.ts";
import { bytes } from "../output.ts";
import { ofEachGraph, type StepGraphs } from "../stage-figures.ts";
import { samples, type TrainingSubject } from "../training-subject.ts";
import type { Need } from "./largest-batch.ts";
import { type Peaks, type RooflineTime, rooflineTime, sumOfTimes } from "./roofline.ts";

export interface StepPlan {
  /** Micro-batch size. */
  readonly batch: number;
  readonly memory: MemoryByKind;
  readonly programs: StepGraphs<PlannedGraph>;
  /** Host memory in bytes for a device's shards, if any. */
  readonly host?: number;
}

/** A graph of a step, or its parts combined. */
export interface PlannedGraph extends Pick<PlannedProgram, "kernels" | "copied" | "largestBinding"> {
  /** Bytes of weights that its parts gather, if weights are sharded. */
  readonly weights?: { readonly all: number };
}

export const totalBytes = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/** The step as a run compiles it: for this batch only, and within a budget of bytes if given. */
export function planStep(
  { step, sizes }: TrainingSubject,
  batch: number,
  facts: AdapterFacts,
  memory?: number,
): StepPlan {
  const bound = { ...sizes, [samples]: batch };
  const programs = ofEachGraph<PlannedProgram>(step, (graph, precision, made) =>
    planKernels(bindSizes(graph, bound), facts, { precision, memory, beside: made.map((p) => p.bound) }),
  );
  const all = Object.values<PlannedProgram>(programs).map((p) => p.bound);
  return { batch, memory: stepMemory(step, all, bound), programs };
}

/** The device memory of a planned batch, or why there is no plan. */
export function needOf(plan: () => StepPlan, { maxBindingBytes }: AdapterFacts): Need {
  try {
    const { memory, programs } = plan();
    const largest = Math.max(...Object.values<PlannedGraph>(programs).map((p) => p.largestBinding));
    if (largest <= maxBindingBytes) return { bytes: totalBytes(memory) };
    return { refused: `a kernel would bind ${bytes(largest)} at once; the limit is ${bytes(maxBindingBytes)}` };
  } catch (error) {
    // A step that no device can run or no plan fits is a user's mistake elsewhere, but a result here.
    if (error instanceof UnsupportedError || error instanceof UsageError)
      return { refused: error.message.split("\n")[0]!, ...(error instanceof BudgetError && { least: error.least }) };
    throw error;
  }
}

/** Seconds on one device, by part. */
export interface UpdateTime {
  /** Of one micro-batch, without the work done once per update. */
  readonly microBatch: RooflineTime;
  /** Of the work done once: the update rule, and other writes of parameters and states. */
  readonly update: RooflineTime;
}

/**
 * The times of each micro-batch and of the work done once. In a single graph, kernels that write stored state run once
 * per update. With cached features, each micro-batch has a second forward pass, and with layers past them its share of
 * what compares them.
 */
export function timeOf({ programs }: StepPlan, peaks: Peaks): UpdateTime {
  const { step, terms, update, features, middle, shares } = programs;
  const timed = (programs: readonly (PlannedGraph | undefined)[]) =>
    sumOfTimes(programs.flatMap((p) => (p ? [rooflineTime(p, peaks)] : [])));
  if (update) return { microBatch: timed([step, features, shares]), update: timed([middle, terms, update]) };
  const { kernels, copied } = step;
  return {
    microBatch: rooflineTime({ kernels: kernels.filter((k) => !k.updates), copied: 0 }, peaks),
    update: rooflineTime({ kernels: kernels.filter((k) => k.updates), copied }, peaks),
  };
}
