/** A benchmark report as plain data, as printed by `--json`. All of its numbers were measured in this run. */
import type { Case, ContenderName } from "./cases.ts";
import type { Environment } from "./environment.ts";
import type { ContenderResult } from "./run-case.ts";
import { median, type Spread, spread } from "./statistics.ts";
import type { DeviceFacts, KernelFigures, Measurement, WebgpuCalls } from "./subject.ts";

export interface Report {
  readonly environment: Environment;
  /** The device that heddle ran on; absent if no case needed one. */
  readonly device?: DeviceFacts & { readonly drivers: readonly string[] };
  readonly rounds: number;
  readonly cases: readonly CaseReport[];
}

export interface CaseReport {
  readonly name: string;
  readonly summary: string;
  /** Floating-point operations of one repetition. */
  readonly flops?: number;
  readonly finding?: string;
  readonly contenders: readonly (Figures | Failure)[];
  /** heddle's kernels, slowest first; only with --profile. */
  readonly kernels?: readonly KernelFigures[];
}

export interface Failure {
  readonly contender: ContenderName;
  readonly failure: string;
}

/** Units are milliseconds, bytes and counts. */
export interface Figures {
  readonly contender: ContenderName;
  /** Over all timed repetitions of all rounds. */
  readonly wallMs: Spread;
  readonly cpuMs: Spread;
  /** Share of all cores, 0 to 1, that other programs used meanwhile: the maximum over rounds. */
  readonly otherLoad: number;
  /** This contender's time over heddle's in the same round: median and quartiles over the rounds. */
  readonly timesHeddle: Spread;
  readonly gflopsPerSecond?: number;
  /** Time to build, compile and run once: median over the rounds. */
  readonly firstRunMs: number;
  /** Time from process start to the last repetition: median over the rounds. */
  readonly processMs: number;
  readonly peakRssBytes: number;
  /** Calls of one repetition in the steady state. */
  readonly calls?: WebgpuCalls;
  /** Pipelines created per process. */
  readonly pipelines?: number;
  /** The largest difference from heddle's outputs, relative to the largest magnitude. */
  readonly difference: number;
  readonly repetitions: number;
}

export function reportCase(
  c: Case,
  results: readonly ContenderResult[],
  kernels?: readonly KernelFigures[],
): CaseReport {
  const heddle = results.find((r) => r.contender === "heddle")?.measurements ?? [];
  const flops = c.flops?.();
  const output = heddle[0]?.outputs[0];
  return {
    name: c.name,
    summary: c.summary,
    ...(flops !== undefined && { flops }),
    ...(c.finding && output && { finding: c.finding(output) }),
    contenders: results.map((r) =>
      r.failure === undefined ? figures(r, heddle, flops) : { contender: r.contender, failure: r.failure },
    ),
    ...(kernels && { kernels: [...kernels].sort((a, b) => b.nanoseconds - a.nanoseconds) }),
  };
}

function figures(result: ContenderResult, heddle: readonly Measurement[], flops: number | undefined): Figures {
  const { contender, measurements, difference } = result;
  const wallMs = spread(measurements.flatMap((m) => m.timesMs));
  const ratios = measurements.map((m, round) => median(m.timesMs) / median(heddle[round]!.timesMs));
  const { calls, pipelines } = measurements[0]!;
  return {
    contender,
    wallMs,
    cpuMs: spread(measurements.flatMap((m) => m.cpuMs)),
    otherLoad: Math.max(...measurements.map((m) => m.otherLoad)),
    timesHeddle: spread(ratios),
    ...(flops !== undefined && { gflopsPerSecond: flops / wallMs.median / 1e6 }),
    firstRunMs: median(measurements.map((m) => m.firstRunMs)),
    processMs: median(measurements.map((m) => m.processMs)),
    peakRssBytes: Math.max(...measurements.map((m) => m.peakRssBytes)),
    ...(calls && { calls }),
    ...(pipelines !== undefined && { pipelines }),
    difference,
    repetitions: measurements.reduce((n, m) => n + m.timesMs.length, 0),
  };
}
