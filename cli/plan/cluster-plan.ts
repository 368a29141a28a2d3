/** The plan of a stage on devices that share each batch. docs/plan.md. */
import type { MemoryByKind, StepOperations } from "../../compiler/index.ts";
import type { Shard } from "../../runtime/index.ts";
import { updateOperations } from "../stage-figures.ts";
import { isOpen, samples, type TrainingSubject } from "../training-subject.ts";
import { type Exchanged, exchangedBytes } from "./exchange.ts";
import type { Hardware } from "./hardware-records.ts";
import type { Link } from "./hardware-text.ts";
import { type LargestBatch, largestBatch } from "./largest-batch.ts";
import { firstDevicesStep, planShared } from "./shard-plan.ts";
import { needOf, type PlannedGraph, planStep, type StepPlan, timeOf, totalBytes } from "./step-plan.ts";
import type { TimedUpdate } from "./timed-step.ts";

/** A device without a figure for its memory has no largest batch. */
export type PlannedDevice = Omit<Hardware, "memory" | "link"> & { readonly memory?: number };

export interface PlanRequest {
  readonly device: PlannedDevice;
  readonly count: number;
  readonly link?: Link | undefined;
  /** Samples that a device computes at once; default what fits. */
  readonly batch?: number | undefined;
  /** Bytes of a device that its plan may take, by computing values again; default what it has, without that. */
  readonly budget?: number | undefined;
  /** The share of the roofline that kernels reach. */
  readonly efficiency: number;
  /** What each of several devices keeps its part of. */
  readonly shard?: Shard | undefined;
}

export interface ClusterPlan {
  /** Absent where a batch is asked for, the device's memory is not known, or the step has no batch to choose. */
  readonly largest?: LargestBatch;
  /** Samples that a device computes at once, how many such micro-batches make an update, and samples of all devices. */
  readonly batch: { readonly micro: number; readonly microBatches: number; readonly update: number };
  /** Of one device. */
  readonly memory: MemoryByKind;
  readonly bytes: number;
  /** Whether they are within the device's memory; absent where that is not known. */
  readonly fits?: boolean;
  /** Bytes of the host's memory that each device's parts of weights and gradients take, where they are in parts. */
  readonly host?: number;
  /** Of one device where each keeps its part of the optimizer's state, as `heddle train --shard optimizer` does; absent of one device. */
  readonly optimizerSharded?: number;
  /** Of one device where weights, gradients and the optimizer's state are divided among all; absent of one device. */
  readonly sharded?: number;
  readonly kernels: number;
  /** Of one update, on one device. */
  readonly operations: StepOperations;
  /** Seconds of an update. */
  readonly time: {
    readonly operations: number;
    readonly bytes: number;
    readonly launches: number;
    readonly exchange: number;
    /** Of kernels that were timed, where they were: then what `update` is made of, in place of the three before. */
    readonly kernels?: number;
    readonly update: number;
  };
  readonly samplesPerSecond: number;
  /** Forward and backward operations a second, of what the device's fastest units do at most. */
  readonly utilization: number;
  readonly steps?: number;
  /** Of all steps. */
  readonly seconds?: number;
}

/** Batches above this are not looked for. */
const mostSamples = 2 ** 16;

export function planCluster(subject: TrainingSubject, request: PlanRequest): ClusterPlan {
  const { device, count, link, efficiency, budget, shard } = request;
  const step = count > 1 ? firstDevicesStep(subject, { shard, count }) : undefined;
  const { facts, peaks } = device;
  const most = budget ?? device.memory;
  const made = new Map<number, StepPlan>();
  const plannedIn = (batch: number, memory: number | undefined): StepPlan =>
    step
      ? { batch, ...planShared(step, subject.sizes, batch, facts, memory, { shard, count }) }
      : planStep(subject, batch, facts, memory);
  const planned = (batch: number): StepPlan => {
    const plan = made.get(batch) ?? plannedIn(batch, budget);
    made.set(batch, plan);
    return plan;
  };
  const need = (batch: number) => needOf(() => planned(batch), facts);
  const isChosen = request.batch === undefined && isOpen(subject);
  const largest = most !== undefined && isChosen ? largestBatch({ need, budget: most, most: mostSamples }) : undefined;
  const batch = batchOf(subject, request, largest?.batch);
  const needed = need(batch.micro);
  // What fits no budget is planned as if it had none.
  const plan = made.get(batch.micro) ?? plannedIn(batch.micro, undefined);
  const { microBatch, update } = timeOf(plan, peaks);
  const n = batch.microBatches;
  const sum = (part: "byOperations" | "byBytes" | "launches") => (n * microBatch[part] + update[part]) / efficiency;
  const exchange = link ? exchangedBytes(exchangedOf(plan, subject), count, n, shard) / link.bytesPerSecond : 0;
  const parts = { operations: sum("byOperations"), bytes: sum("byBytes"), launches: sum("launches"), exchange };
  const seconds = Object.values(parts).reduce((a, b) => a + b, 0);
  const operations = updateOperations(subject.step, { ...subject.sizes, [samples]: batch.micro }, n);
  const peak = plan.programs.step.kernels.some((k) => k.onMatrices) ? (peaks.matrices ?? peaks.f32) : peaks.f32;
  const bytes = totalBytes(plan.memory);
  return {
    ...(largest && { largest }),
    batch,
    memory: plan.memory,
    bytes,
    ...(most !== undefined && { fits: "bytes" in needed && needed.bytes <= most }),
    ...(plan.host ? { host: plan.host } : {}),
    ...(count > 1 &&
      !shard && {
        optimizerSharded: dividedBytes(plan.memory, count, (kind) => kind.startsWith("optimizer")),
        sharded: dividedBytes(plan.memory, count, (kind) => !ofBatch.includes(kind)),
      }),
    kernels: Object.values<PlannedGraph>(plan.programs).reduce((k, p) => k + p.kernels.length, 0),
    operations,
    time: { ...parts, update: seconds },
    samplesPerSecond: batch.update / seconds,
    utilization: (operations.forward.flops + operations.backward.flops) / seconds / peak,
    ...(subject.steps !== undefined && { steps: subject.steps, seconds: subject.steps * seconds }),
  };
}

/** The plan with kernels as they were timed on the device, in place of what the roofline says of them. */
export function withTimed(plan: ClusterPlan, { microBatch, update }: TimedUpdate): ClusterPlan {
  const kernels = plan.batch.microBatches * microBatch + update;
  const seconds = kernels + plan.time.exchange;
  const factor = seconds / plan.time.update;
  return {
    ...plan,
    time: { ...plan.time, kernels, update: seconds },
    samplesPerSecond: plan.samplesPerSecond / factor,
    utilization: plan.utilization / factor,
    ...(plan.seconds !== undefined && { seconds: plan.seconds * factor }),
  };
}

/** The share of a device, in micro-batches that fit; what is asked for goes first. */
function batchOf(
  subject: TrainingSubject,
  { count, batch }: PlanRequest,
  largest: number | undefined,
): ClusterPlan["batch"] {
  const own = subject.step.accumulation && subject.sizes[samples];
  const asked = batch ?? own;
  const most = asked ?? (largest === 0 ? undefined : largest);
  const share = subject.batch === undefined ? (most ?? 1) : Math.ceil(subject.batch / count);
  const micro = asked ?? (most === undefined ? share : evenPart(share, most));
  const microBatches = Math.ceil(share / micro);
  return { micro, microBatches, update: micro * microBatches * count };
}

/** The largest part of at most `most` that divides a share; where that is small, parts of which the last is not full. */
function evenPart(share: number, most: number): number {
  let part = Math.min(share, most);
  while (share % part !== 0) part--;
  return 2 * part >= Math.min(share, most) ? part : Math.ceil(share / Math.ceil(share / most));
}

/** Gradients are exchanged in f32, as they are kept. */
const gradientBytes = ({ step }: TrainingSubject): number => step.arenas.reduce((n, a) => n + 4 * a.layout.size, 0);

/** What a plan's graphs have to be given by other devices. */
function exchangedOf({ programs: { step, features, middle } }: StepPlan, subject: TrainingSubject): Exchanged {
  const read = (graph: PlannedGraph | undefined) => graph?.weights?.all ?? 0;
  return { gradients: gradientBytes(subject), read: read(step) + read(features), readOnce: read(middle) };
}

/** What follows from the batch rather than from the parameters: it is not divided. */
const ofBatch: readonly string[] = ["inputs", "random inputs", "tables", "saved for backward", "workspace"];

/** Rajbhandari et al. 2020, section 5: stage 1 where the optimizer's state is divided, stage 3 where all of it is. */
const dividedBytes = (memory: MemoryByKind, count: number, isDivided: (kind: string) => boolean): number =>
  Object.entries(memory).reduce((n, [kind, b]) => n + (isDivided(kind) ? b / count : b), 0);
