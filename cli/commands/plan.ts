/**
 * `heddle plan`: estimates memory and time of a training stage on given hardware, before renting it. docs/plan.md has
 * the formulas.
 */

import { tunedOptions } from "../../api/node-index.ts";
import { type Precision, type PrecisionPath, precisionPath, UsageError } from "../../compiler/index.ts";
import type { Shard } from "../../runtime/index.ts";
import type { MemoryBudget } from "../memory-budget.ts";
import { memoryRows } from "../memory-report.ts";
import { bytes, digits, json, table, wrap } from "../output.ts";
import { type ClusterPlan, type PlannedDevice, planCluster, withTimed } from "../plan/cluster-plan.ts";
import { clusterOf, hereName, type Link, parseHardware, recordOf } from "../plan/hardware-text.ts";
import { hardwareHere, withDeviceHere } from "../plan/here.ts";
import type { LargestBatch } from "../plan/largest-batch.ts";
import { printSeconds } from "../plan/seconds.ts";
import { firstDevicesStep } from "../plan/shard-plan.ts";
import { type TimedUpdate, timedUpdate } from "../plan/timed-step.ts";
import { precisionText } from "../precision.ts";
import { operationRows, type ParameterFigures, parameterFigures, parameterRows } from "../stage-figures.ts";
import { type TrainingSubject, trainingSubject } from "../training-subject.ts";

export interface PlanArguments {
  readonly set: readonly string[];
  readonly size: readonly string[];
  readonly stage?: string;
  readonly hardware: string;
  readonly precision?: Precision;
  readonly memory?: MemoryBudget;
  readonly batch?: number;
  readonly efficiency: number;
  readonly shard?: Shard;
  readonly measure: boolean;
  readonly json: boolean;
}

/** What `--json` prints. */
interface Report extends ClusterPlan {
  readonly subject: string;
  readonly parameters: ParameterFigures;
  readonly precision: PrecisionPath;
  readonly hardware: {
    readonly name: string;
    readonly count: number;
    readonly link?: Link;
    readonly memory?: number;
    readonly peaks: PlannedDevice["peaks"];
    readonly source: string;
  };
  readonly efficiency: number;
}

export async function planCommand(source: string, args: PlanArguments): Promise<number> {
  const asked = parseHardware(args.hardware);
  const isHere = asked.device.toLowerCase() === hereName;
  const { device, count, link } = isHere ? await hardwareHere(asked) : clusterOf(recordOf(asked.device), asked);
  const subject = await trainingSubject(source, args);
  const budget = budgetOf(device, args.memory);
  const memory = budget ?? device.memory;
  const { batch, efficiency } = args;
  if (args.shard && count === 1) throw new UsageError("--shard needs several devices, as in --hardware 8×H200");
  if (args.measure) requireMeasurable(args, isHere);
  const bound = planCluster(subject, { device, count, link, batch, efficiency, budget, shard: args.shard });
  const timed = count > 1 && args.measure ? { ...subject, step: firstDevicesStep(subject, { count }) } : subject;
  const plan = args.measure ? withTimed(bound, await timedHere(timed, bound.batch.micro, budget)) : bound;
  const { name, peaks, source: from } = device;
  const report: Report = {
    subject: subject.name,
    parameters: parameterFigures(subject),
    precision: precisionPath(device.facts, { precision: subject.step.precision, parameters: "f32" }),
    hardware: { name, count, ...(link && { link }), ...(memory !== undefined && { memory }), peaks, source: from },
    efficiency,
    ...plan,
  };
  process.stdout.write(args.json ? `${json(report)}\n` : describe(report, batch !== undefined));
  return 0;
}

/** Throws UsageError if kernels cannot be timed: on hardware that is not this machine's, or for a sharded step. */
function requireMeasurable({ shard, efficiency }: PlanArguments, isHere: boolean): void {
  if (!isHere) throw new UsageError("--measure runs kernels on this machine's device: use --hardware here");
  if (shard) throw new UsageError("--measure cannot be combined with --shard: it times a whole step");
  if (efficiency !== 1)
    throw new UsageError("--measure cannot be combined with --efficiency: it times kernels instead of estimating them");
}

const timedHere = (subject: TrainingSubject, batch: number, memory: number | undefined): Promise<TimedUpdate> =>
  withDeviceHere(async (gpu) =>
    timedUpdate(gpu, subject, batch, { ...(await tunedOptions(gpu)), ...(memory !== undefined && { memory }) }),
  );

/** The budget in bytes; undefined if none is given. Throws UsageError for a fraction of unknown memory. */
function budgetOf({ name, memory }: PlannedDevice, asked: MemoryBudget | undefined): number | undefined {
  if (asked === undefined || "bytes" in asked) return asked?.bytes;
  if (memory !== undefined) return Math.floor(asked.share * memory);
  throw new UsageError(`--memory ${asked.share}: the memory of "${name}" is unknown; give bytes`);
}

const percent = (share: number): string => `${Number((100 * share).toPrecision(3))} %`;

type Row = readonly [string, string];

function describe(r: Report, asked: boolean): string {
  const { hardware: h } = r;
  const name = h.count === 1 ? h.name : `${h.count} × ${h.name}`;
  const link: Row[] = h.link
    ? [["  interconnect", `${h.link.name}, ${digits3(h.link.bytesPerSecond / 1e9)} GB/s per device`]]
    : [];
  const sharded: Row[] =
    r.sharded === undefined
      ? []
      : [
          ["  with --shard optimizer", bytes(r.optimizerSharded!)],
          ["  with --shard weights", `at least ${bytes(r.sharded)}`],
        ];
  const host: Row[] = r.host ? [["host memory", `${bytes(r.host)} for each device's shard`]] : [];
  const rows: Row[] = [
    ["planned", `${r.subject}, on ${name}`],
    ...parameterRows(r.parameters),
    ["computed in", precisionText(r.precision)],
    ["hardware", printPeaks(h)],
    ...link,
    ...largestRows(r, asked),
    ["batch", describeBatch(r)],
    ...memoryRows(r.memory),
    ...sharded,
    ...host,
    ...operationRows(r.operations),
    ["kernels", digits(r.kernels)],
    ...timeRows(r),
  ];
  const notes = [
    ...(r.fits === false ? ["it does not fit in memory: the time assumes that it did"] : []),
    ...(h.count > 1 ? ["memory, operations and kernels are those of one device"] : []),
    `peaks: ${h.source}`,
  ];
  return `${table(rows)}\n${notes.flatMap((n) => wrap(n, "  ")).join("\n")}\n`;
}

function timeRows({ time, efficiency, sent, utilization, samplesPerSecond, seconds, steps, host }: Report): Row[] {
  const of =
    time.kernels !== undefined
      ? "from its kernels, timed here"
      : efficiency === 1
        ? "at the roofline"
        : `at ${percent(efficiency)} of the roofline`;
  const lost = percent(time.exchange / time.update);
  const exchange: Row[] =
    sent === undefined
      ? []
      : [
          [
            host ? "  weights and gradients" : "  sums of gradients",
            `${printSeconds(time.exchange)}, ${lost} of the time: each device sends ${bytes(sent)}`,
          ],
        ];
  const roofline: Row[] = [
    ["  bound by operations", printSeconds(time.operations)],
    ["  bound by bytes", printSeconds(time.bytes)],
    ["  launches", printSeconds(time.launches)],
  ];
  const parts: Row[] = time.kernels === undefined ? roofline : [["  kernels", printSeconds(time.kernels)]];
  const all: Row[] =
    seconds === undefined ? [] : [["all steps", `${digits(steps!)} updates, ${printSeconds(seconds)}`]];
  return [
    ["time per update", `${printSeconds(time.update)} ${of}`],
    ...parts,
    ...exchange,
    ["utilization", percent(utilization)],
    ["samples per second", digits3(samplesPerSecond)],
    ...all,
  ];
}

function describeBatch({ batch: { micro, microBatches, update }, hardware: { count } }: Report): string {
  const share = digits(micro * microBatches);
  const parts = microBatches === 1 ? share : `${share} in ${digits(microBatches)} micro-batches of ${digits(micro)}`;
  return count === 1 ? parts : `${digits(update)}, on each device ${parts}`;
}

const digits3 = (n: number): string => (n >= 1000 ? digits(n) : String(Number(n.toPrecision(3))));

const rate = (n: number): string => `${Number((n / 1e12).toPrecision(4))} TFLOP/s`;

function printPeaks({ memory, peaks }: Report["hardware"]): string {
  const matrices = peaks.matrices === undefined ? "" : `, ${rate(peaks.matrices)} on matrices`;
  const has = memory === undefined ? "" : `${bytes(memory)}, `;
  return `${has}${digits(peaks.copy / 1e9)} GB/s, ${rate(peaks.f32)} in f32${matrices}`;
}

function largestRows({ largest, hardware: { memory } }: Report, asked: boolean): Row[] {
  const text = largest
    ? describeLargest(largest)
    : memory === undefined
      ? "unknown: give --memory"
      : "fixed by the job";
  return largest || !asked ? [["largest batch", text]] : [];
}

function describeLargest(largest: LargestBatch): string {
  const { batch, tooMany, because } = largest;
  if (tooMany === undefined) return `${digits(batch)} and more`;
  const why = because === "memory" ? "" : `: ${because}`;
  if (batch === 0) return `none: not even one sample fits${why}`;
  const exact = tooMany === batch + 1 ? `${digits(tooMany)} does not fit` : `at least; ${digits(tooMany)} does not fit`;
  return `${digits(batch)} (by its plan; ${exact}${why})`;
}
