/** A training step planned for a device: memory by kind, kernels, and the time that the device's peaks allow. */
import {
  type AdapterFacts,
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
  /** Samples that the device computes at once. */
  readonly batch: number;
  readonly memory: MemoryByKind;
  readonly programs: StepGraphs<PlannedGraph>;
  /** Bytes of the host's memory that a device's parts take, where those of a step lie there. */
  readonly host?: number;
}

/** A graph of a step, or its parts together. */
export interface PlannedGraph extends Pick<PlannedProgram, "kernels" | "copied" | "largestBinding"> {
  /** Bytes of weights that its parts gather, where weights are in parts. */
  readonly weights?: { readonly all: number };
}

export const totalBytes = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/** The step as a run compiles it: for this batch alone, and where a budget of bytes is given within that. */
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

/** What a planned batch takes of the device's memory, or why there is no plan of it. */
export function needOf(plan: () => StepPlan, { maxBindingBytes }: AdapterFacts): Need {
  try {
    const { memory, programs } = plan();
    const largest = Math.max(...Object.values<PlannedGraph>(programs).map((p) => p.largestBinding));
    if (largest <= maxBindingBytes) return { bytes: totalBytes(memory) };
    return { refused: `a kernel would bind ${bytes(largest)} at once, of at most ${bytes(maxBindingBytes)}` };
  } catch (error) {
    // What no device can run, and what no plan fits into, is a mistake of the user elsewhere, and here an answer.
    if (error instanceof UnsupportedError || error instanceof UsageError)
      return { refused: error.message.split("\n")[0]! };
    throw error;
  }
}

/** Seconds on one device, by what they go into. */
export interface UpdateTime {
  /** Of one micro-batch, without what is done once for all of them. */
  readonly microBatch: RooflineTime;
  /** Of what is done once: the rule, and what else writes parameters and states. */
  readonly update: RooflineTime;
}

/**
 * What each micro-batch takes, and what is done once. Of one graph, kernels that write what a store keeps run once an
 * update. Where features are cached, each micro-batch is computed forwards once more.
 */
export function timeOf({ programs: { step, update, features, middle } }: StepPlan, peaks: Peaks): UpdateTime {
  const timed = (programs: readonly (PlannedGraph | undefined)[]) =>
    sumOfTimes(programs.flatMap((p) => (p ? [rooflineTime(p, peaks)] : [])));
  if (update) return { microBatch: timed([step, features]), update: timed([middle, update]) };
  const { kernels, copied } = step;
  return {
    microBatch: rooflineTime({ kernels: kernels.filter((k) => !k.updates), copied: 0 }, peaks),
    update: rooflineTime({ kernels: kernels.filter((k) => k.updates), copied }, peaks),
  };
}
