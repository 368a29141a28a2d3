/** A training step planned for a device: memory by kind, kernels, and the time that the device's peaks allow. */
import {
  type AdapterFacts,
  bindSizes,
  type Graph,
  type MemoryByKind,
  type PlannedProgram,
  planKernels,
  UnsupportedError,
} from "../../compiler/index.ts";
import { stepMemory } from "../../dsl/index.ts";
import { bytes } from "../output.ts";
import { samples, type TrainingSubject } from "../training-subject.ts";
import type { Need } from "./largest-batch.ts";
import { type Peaks, type RooflineTime, rooflineTime } from "./roofline.ts";

export interface StepPlan {
  /** Samples that the device computes at once. */
  readonly batch: number;
  readonly memory: MemoryByKind;
  /** Of each graph of the step: of one micro-batch, and where they are accumulated of the update. */
  readonly programs: readonly PlannedProgram[];
}

export const totalBytes = (memory: MemoryByKind): number => Object.values(memory).reduce((a, b) => a + b, 0);

/** The step as a run compiles it: for this batch alone. */
export function planStep({ step, sizes }: TrainingSubject, batch: number, facts: AdapterFacts): StepPlan {
  const bound = { ...sizes, [samples]: batch };
  const { accumulation, precision } = step;
  const plan = (graph: Graph, p = precision) => planKernels(bindSizes(graph, bound), facts, { precision: p });
  // Sums and the optimizer are f32 in either precision.
  const programs = [plan(step.graph), ...(accumulation ? [plan(accumulation.update, "f32")] : [])];
  return {
    batch,
    memory: stepMemory(
      step,
      programs.map((p) => p.bound),
      bound,
    ),
    programs,
  };
}

/** What a batch takes of the device's memory, or which limit of its kernels it passes. */
export function needOf(subject: TrainingSubject, batch: number, facts: AdapterFacts): Need {
  try {
    const { memory, programs } = planStep(subject, batch, facts);
    const largest = Math.max(...programs.map((p) => p.largestBinding));
    if (largest <= facts.maxBindingBytes) return { bytes: totalBytes(memory) };
    return { refused: `a kernel would bind ${bytes(largest)} at once, of at most ${bytes(facts.maxBindingBytes)}` };
  } catch (error) {
    if (error instanceof UnsupportedError) return { refused: error.message.split("\n")[0]! };
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

/** Kernels that write what a store keeps run once an update, but for sums of micro-batches. */
export function timeOf({ programs: [step, update] }: StepPlan, peaks: Peaks): UpdateTime {
  if (update) return { microBatch: rooflineTime(step!, peaks), update: rooflineTime(update, peaks) };
  const { kernels, copied } = step!;
  return {
    microBatch: rooflineTime({ kernels: kernels.filter((k) => !k.updates), copied: 0 }, peaks),
    update: rooflineTime({ kernels: kernels.filter((k) => k.updates), copied }, peaks),
  };
}
