/** The plan of a data-parallel stage, in which several devices share each batch. docs/plan.md. */
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

/** A device; without a known memory size it has no largest batch. */
export type PlannedDevice = Omit<Hardware, "memory" | "link"> & { readonly memory?: number };

export interface PlanRequest {
  readonly device: PlannedDevice;
  readonly count: number;
  readonly link?: Link | undefined;
  /** Micro-batch size per device; default the largest that fits. */
  readonly batch?: number | undefined;
  /** Memory budget per device in bytes, met by recomputation; default the device's memory, without recomputation. */
  readonly budget?: number | undefined;
  /** The fraction of the roofline that kernels reach. */
  readonly efficiency: number;
  /** What is sharded over the devices. */
  readonly shard?: Shard | undefined;
}

export interface ClusterPlan {
  /** Absent if a batch is given, the device's memory is unknown, or the step has no symbolic batch. */
  readonly largest?: LargestBatch;
  /** Micro-batch size per device, micro-batches per update, and samples per update over all devices. */
  readonly batch: { readonly micro: number; readonly microBatches: number; readonly update: number };
  /** Memory per device. */
  readonly memory: MemoryByKind;
  readonly bytes: number;
  /** Whether it fits in the device's memory; absent if that is unknown. */
  readonly fits?: boolean;
  /** Host memory in bytes for each device's shards of weights and gradients, if those are sharded. */
  readonly host?: number;
  /** Bytes per device with sharded optimizer state, as with `heddle train --shard optimizer`; absent for one device. */
  readonly optimizerSharded?: number;
  /** Bytes per device with weights, gradients and optimizer state sharded; absent for one device. */
  readonly sharded?: number;
  /** Bytes that each device sends in an update; absent for one device. */
  readonly sent?: number;
  readonly kernels: number;
  /** Operations of one update on one device. */
  readonly operations: StepOperations;
  /** Seconds of an update. */
  readonly time: {
    readonly operations: number;
    readonly bytes: number;
    readonly launches: number;
    readonly exchange: number;
    /** Seconds of measured kernels, if timed; `update` then uses these instead of the three above. */
    readonly kernels?: number;
    readonly update: number;
  };
  readonly samplesPerSecond: number;
  /**
   * Model FLOPS utilization: forward and backward operations per second, relative to the peak of the device's fastest
   * units.
   */
  readonly utilization: number;
  readonly steps?: number;
  /** Seconds of all steps. */
  readonly seconds?: number;
}

/** Maximum batch of the search. */
const mostSamples = 2 ** 16;

export function planCluster(subject: TrainingSubject, request: PlanRequest): ClusterPlan {
  const { count, link, shard, device } = request;
  const { peaks } = device;
  const most = request.budget ?? device.memory;
  const { largest, batch, needed, plan } = chosenPlan(subject, request, most);
  const n = batch.microBatches;
  const sent = link ? exchangedBytes(exchangedOf(plan, subject), count, n, shard) : 0;
  const parts = timeParts(plan, n, sent, request);
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
    ...(link && { sent }),
    kernels: Object.values<PlannedGraph>(plan.programs).reduce((k, p) => k + p.kernels.length, 0),
    operations,
    time: { ...parts, update: seconds },
    samplesPerSecond: batch.update / seconds,
    utilization: (operations.forward.flops + operations.backward.flops) / seconds / peak,
    ...(subject.steps !== undefined && { steps: subject.steps, seconds: subject.steps * seconds }),
  };
}

/** The batch asked for, or the largest that fits, and the plan of a step with it. */
function chosenPlan(subject: TrainingSubject, request: PlanRequest, most: number | undefined) {
  const { device, count, budget, shard } = request;
  const { facts } = device;
  const step = count > 1 ? firstDevicesStep(subject, { shard, count }) : undefined;
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
  // If nothing fits the budget, plan without one.
  const plan = made.get(batch.micro) ?? plannedIn(batch.micro, undefined);
  return { largest, batch, needed, plan };
}

/** Seconds of an update of n micro-batches by what bounds them, and of the exchange of this many bytes. */
function timeParts(plan: StepPlan, n: number, sent: number, { device, efficiency, link }: PlanRequest) {
  const { microBatch, update } = timeOf(plan, device.peaks);
  const sum = (part: "byOperations" | "byBytes" | "launches") => (n * microBatch[part] + update[part]) / efficiency;
  const exchange = link ? sent / link.bytesPerSecond : 0;
  return { operations: sum("byOperations"), bytes: sum("byBytes"), launches: sum("launches"), exchange };
}

/** The plan with measured kernel times in place of the roofline's. */
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

/** A device's share of the batch, in micro-batches that fit; a given micro-batch takes precedence. */
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

/** The largest divisor of `share` up to `most`; if that is small, a size whose last micro-batch is not full. */
function evenPart(share: number, most: number): number {
  let part = Math.min(share, most);
  while (share % part !== 0) part--;
  return 2 * part >= Math.min(share, most) ? part : Math.ceil(share / Math.ceil(share / most));
}

/** Gradients are exchanged in f32, their storage dtype. */
const gradientBytes = ({ step }: TrainingSubject): number => step.arenas.reduce((n, a) => n + 4 * a.layout.size, 0);

/** Bytes that a plan's graphs exchange with other devices. */
function exchangedOf({ programs: { step, features, middle, shares } }: StepPlan, subject: TrainingSubject): Exchanged {
  const read = (graph: PlannedGraph | undefined) => graph?.weights?.all ?? 0;
  return {
    gradients: gradientBytes(subject),
    read: read(step) + read(features) + read(shares),
    readOnce: read(middle),
  };
}

/** Memory that depends on the batch rather than on parameters: not sharded. */
const ofBatch: readonly string[] = ["inputs", "random inputs", "tables", "saved for backward", "workspace"];

/** Rajbhandari et al. 2020, section 5: stage 1 if the optimizer state is sharded, stage 3 if everything is. */
const dividedBytes = (memory: MemoryByKind, count: number, isDivided: (kind: string) => boolean): number =>
  Object.entries(memory).reduce((n, [kind, b]) => n + (isDivided(kind) ? b / count : b), 0);
