/** Measures a subject in this process. */
import { deviceFacts, loadedDrivers } from "./device.ts";
import { watchOthers } from "./other-load.ts";
import type { Measurement, Output, Run, Subject } from "./subject.ts";
import { type CallCounter, callsBetween, countCalls } from "./webgpu-calls.ts";

export interface MeasureOptions {
  /** Untimed repetitions; the first also builds. */
  readonly warmup: number;
  readonly timed: number;
  /** Number of first repetitions whose outputs are returned. */
  readonly compared: number;
  /** Also times individual kernels, at the end. */
  readonly profile: boolean;
}

interface Repetition {
  readonly output: Output;
  readonly ms: number;
  readonly cpuMs: number;
}

export async function measure(subject: Subject, options: MeasureOptions): Promise<Measurement> {
  const { warmup, timed, compared, profile } = options;
  const counter = subject.gpu && countCalls();
  let run: Run = async () => (run = await subject.build())();
  const repetitions: Repetition[] = [];
  const others = watchOthers();
  while (repetitions.length < Math.max(warmup + timed, compared)) repetitions.push(await repeat(() => run()));
  const otherLoad = others();
  const kept = repetitions.slice(warmup, warmup + timed);
  return {
    firstRunMs: repetitions[0]!.ms,
    timesMs: kept.map((r) => r.ms),
    cpuMs: kept.map((r) => r.cpuMs),
    otherLoad,
    outputs: repetitions.slice(0, compared).map((r) => r.output),
    processMs: performance.now(),
    ...(counter && (await counted(counter, run))),
    ...(subject.gpu && { device: deviceFacts(subject.gpu) }),
    drivers: loadedDrivers(),
    ...(profile && subject.profile && { kernels: await subject.profile() }),
    peakRssBytes: process.resourceUsage().maxRSS * 1024,
  };
}

async function repeat(run: Run): Promise<Repetition> {
  const [begun, cpu] = [performance.now(), process.cpuUsage()];
  const output = await run();
  const ms = performance.now() - begun;
  const { user, system } = process.cpuUsage(cpu);
  return { output, ms, cpuMs: (user + system) / 1000 };
}

/** The WebGPU calls of one more run, and the pipelines of all runs. */
async function counted(counter: CallCounter, run: Run): Promise<Pick<Measurement, "calls" | "pipelines">> {
  const before = counter.now();
  await run();
  const after = counter.now();
  return { calls: callsBetween(before, after), pipelines: after.pipelines };
}
