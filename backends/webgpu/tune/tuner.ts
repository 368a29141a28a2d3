/**
 * Autotuner: times every schedule candidate for each kernel shape of a graph on an adapter, on tensors of the real
 * sizes. A candidate that is faster and computes the same becomes a finding.
 */
import {
  type Candidate,
  dimValue,
  type Finding,
  type Findings,
  type Graph,
  HeddleError,
  type KernelOptions,
  type Program,
  type ProgramKernel,
  type Sizes,
  type TunableKernel,
  tunableKernels,
} from "../../../compiler/index.ts";
import { factsOf } from "../runtime/backend.ts";
import { DeviceLostError, type GpuDevice } from "../runtime/device.ts";
import { Comparison } from "./compare.ts";
import { scoped } from "./error-scope.ts";
import { Samples } from "./samples.ts";
import { timerOf } from "./timer.ts";
import { type Ready, type Tools, Trial } from "./trial.ts";

/** A schedule and its settings. */
export type Way = Pick<Candidate, "schedule" | "settings">;

/** A way, and the kernel time it gives. */
export interface TimedWay extends Way {
  readonly nanoseconds: number;
}

/** A way that was not timed, and why. */
export interface Skipped extends Way {
  readonly reason: string;
}

/** Tuning result for the kernels of one shape. */
export interface TunedKernel {
  readonly mark: string;
  /** Mark of the same kernel with static sizes, to which the finding also applies. */
  readonly fixedMark: string | undefined;
  /** Name of the first such kernel. */
  readonly name: string;
  readonly kind: string;
  readonly count: number;
  readonly before: TimedWay;
  readonly after: TimedWay;
  /** All timed ways, fastest first. */
  readonly timed: readonly TimedWay[];
  readonly skipped: readonly Skipped[];
  /** Undefined if the schedule table's own choice is best. */
  readonly finding: Finding | undefined;
}

/** Kernels that could not be tuned. */
export interface FailedKernel {
  readonly mark: string;
  readonly name: string;
  readonly count: number;
  readonly failure: string;
}

export interface TuneOptions extends Pick<KernelOptions, "schedules" | "findings" | "precision"> {
  /** Values for the graph's symbolic sizes. */
  readonly sizes?: Sizes;
  /** Milliseconds for all kernels together, shared in proportion to their estimated cost. */
  readonly budget: number;
  readonly onKernel?: (done: number, total: number, kernel: TunedKernel | FailedKernel) => void;
  /** Aborting it skips what is not yet timed. */
  readonly signal?: AbortSignal;
}

/** Nanoseconds per measurement: enough for clocks with a 65 microsecond tick, and to hide submission overhead. */
const measured = 2e6;
const mostRepetitions = 200;
/** Timing rounds per way, and the slowdown relative to the fastest at which a way is dropped. */
const rounds = 5;
const hopeless = 1.5;
/** A way replaces another only if it is faster by more than the timing noise. */
const worthIt = 0.98;
/** Reordered sums differ by f32 rounding; f16 results by one f16 rounding. Relative to the largest value. */
const tolerance = { f32: 1e-4, f16: 2e-3 };

/** Tunes every kernel shape of a graph, within the budget. Throws only for failures of the whole device. */
export async function tuneKernels(
  gpu: GpuDevice,
  graph: Graph,
  { sizes = {}, budget, onKernel, signal, ...options }: TuneOptions,
): Promise<(TunedKernel | FailedKernel)[]> {
  const tools: Tools = { gpu, samples: new Samples(gpu), comparison: new Comparison(gpu), timer: timerOf(gpu) };
  const kernels = tunableKernels(graph, factsOf(gpu), sizes, options).map((shape) => {
    const program = shape.taken.compile();
    return { shape, program, weight: shape.count * estimate(program.kernels[0]!, sizes) };
  });
  kernels.sort((a, b) => b.weight - a.weight);
  const results: (TunedKernel | FailedKernel)[] = [];
  const end = performance.now() + budget;
  let left = kernels.reduce((n, k) => n + k.weight, 0);
  try {
    for (const [i, { shape, program, weight }] of kernels.entries()) {
      const share = Math.max(weight / left, 1 / (kernels.length - i));
      left -= weight;
      const now = performance.now();
      const deadline = now + share * (end - now);
      const inTime = () => !signal?.aborted && performance.now() < deadline;
      const result = await tuneOne(tools, shape, program, sizes, inTime);
      results.push(result);
      onKernel?.(i + 1, kernels.length, result);
    }
  } finally {
    tools.samples.dispose();
  }
  return results;
}

/** Cost estimate for sharing the budget, in bytes: the operations that a GPU does while it moves one byte. */
const operationsPerByte = 10;
const estimate = ({ bytesRead, bytesWritten, flops }: ProgramKernel, sizes: Sizes): number =>
  Math.max(dimValue(bytesRead, sizes) + dimValue(bytesWritten, sizes), dimValue(flops, sizes) / operationsPerByte);

const sameWay = (a: Way, b: Way): boolean =>
  a.schedule === b.schedule && JSON.stringify(a.settings) === JSON.stringify(b.settings);

const wayOf = ({ schedule, settings }: Way): Way => ({ schedule, settings });

/** A way, and the kernel compiled with it. */
interface Made {
  readonly way: Way;
  readonly kernel: ProgramKernel;
}

/** A way that is being timed. */
interface Runner {
  readonly way: Way;
  readonly ready: Ready;
  readonly times: number[];
}

async function tuneOne(
  tools: Tools,
  shape: TunableKernel,
  program: Program,
  sizes: Sizes,
  inTime: () => boolean,
): Promise<TunedKernel | FailedKernel> {
  const { mark, fixedMark, count, taken, byTable } = shape;
  const { name, kind } = program.kernels[0]!;
  const skipped: Skipped[] = [];
  const others = shape.candidates.filter((c) => !sameWay(c, taken));
  const made: Made[] = [{ way: wayOf(taken), kernel: program.kernels[0]! }];
  for (const c of others) {
    const kernel = attempt(() => c.compile().kernels[0]!);
    if (typeof kernel === "string") skipped.push({ ...wayOf(c), reason: kernel });
    else made.push({ way: wayOf(c), kernel });
  }
  let trial: Trial | undefined;
  try {
    const variants = made.map((m) => m.kernel);
    trial = await scoped(tools.gpu, async () => new Trial(tools, variants, program.symbols, sizes));
    const runners = await runnersOf(tools, trial, made, skipped, inTime);
    await race(trial, runners, inTime);
    const timed = runners
      .map(({ way, times }): TimedWay => ({ ...way, nanoseconds: median(times) }))
      .sort((a, b) => a.nanoseconds - b.nanoseconds);
    const before = timed.find((t) => sameWay(t, taken))!;
    const after = timed[0]!.nanoseconds < worthIt * before.nanoseconds ? timed[0]! : before;
    const finding = sameWay(after, byTable) ? undefined : { ...wayOf(after), sizes };
    return { mark, fixedMark, name, kind, count, before, after, timed, skipped, finding };
  } catch (error) {
    return { mark, name, count, failure: reasonOf(error) };
  } finally {
    trial?.dispose();
  }
}

/** Compiles each way and runs it once; skips those that fail or give different results. */
async function runnersOf(
  { gpu }: Tools,
  trial: Trial,
  [first, ...others]: readonly Made[],
  skipped: Skipped[],
  inTime: () => boolean,
): Promise<Runner[]> {
  const standard: Runner = { way: first!.way, ready: await trial.ready(first!.kernel), times: [] };
  await scoped(gpu, () => trial.expect(standard.ready));
  const runners = [standard];
  // Drivers compile on several cores, but a software adapter also runs its kernels there.
  const atOnce = gpu.adapter.software ? 1 : 8;
  for (let i = 0; i < others.length; i += atOnce) {
    const batch = others.slice(i, i + atOnce);
    if (!inTime()) {
      skipped.push(...batch.map(({ way }) => ({ ...way, reason: "the budget was used up" })));
      continue;
    }
    const compiled = batch.map(({ kernel }) => trial.ready(kernel).catch(reasonOf));
    for (const [j, ready] of (await Promise.all(compiled)).entries()) {
      const { way, kernel } = batch[j]!;
      const reason = typeof ready === "string" ? ready : await objection(gpu, trial, ready, kernel);
      if (typeof ready === "string" || reason) skipped.push({ ...way, reason: reason! });
      else runners.push({ way, ready, times: [] });
    }
  }
  return runners;
}

/** Why a kernel is disqualified: it fails, or its results differ from the current kernel's. */
async function objection(
  gpu: GpuDevice,
  trial: Trial,
  ready: Ready,
  { kernel }: ProgramKernel,
): Promise<string | undefined> {
  try {
    const apart = await scoped(gpu, () => trial.difference(ready));
    const granted = kernel.buffers.some((b) => b.dtype === "f16") ? tolerance.f16 : tolerance.f32;
    return apart <= granted ? undefined : `its results differ by ${apart.toExponential(1)} of the largest value`;
  } catch (error) {
    return reasonOf(error);
  }
}

/** Interleaves the timings of the runners, so that disturbances affect all; drops the hopelessly slow ones. */
async function race(trial: Trial, runners: readonly Runner[], inTime: () => boolean): Promise<void> {
  const warm = await trial.time(runners[0]!.ready, 1);
  let running = [...runners];
  for (let round = 0; round < rounds; round++) {
    for (const { ready, times } of running) {
      if (times.length > 0 && !inTime()) continue;
      const guess = times.length > 0 ? Math.min(...times) : warm;
      times.push(await trial.time(ready, Math.max(1, Math.min(mostRepetitions, Math.round(measured / guess)))));
    }
    const best = Math.min(...running.map((r) => median(r.times)));
    running = running.filter((r) => median(r.times) <= hopeless * best || r === runners[0]);
    if (running.length === 1) return;
  }
}

function attempt<T extends object>(body: () => T): T | string {
  try {
    return body();
  } catch (error) {
    return reasonOf(error);
  }
}

/** The failure reason for a table; rethrows a lost device, which concerns more than one kernel. */
function reasonOf(error: unknown): string {
  if (error instanceof DeviceLostError || !(error instanceof Error)) throw error;
  const [line = ""] = error.message.split("\n");
  return error instanceof HeddleError ? line : `${error.name}: ${line}`;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
};

/** Merges tuning results into known findings, replacing those of the same kernels at the same sizes. */
export function mergedFindings(
  known: Findings,
  tuned: readonly (TunedKernel | FailedKernel)[],
  sizes: Sizes,
): Findings {
  const merged = new Map(known);
  const put = (mark: string, at: Sizes, way: Way | undefined) => {
    const elsewhere = (merged.get(mark) ?? []).filter((f) => JSON.stringify(f.sizes) !== JSON.stringify(at));
    const all = way ? [...elsewhere, { ...wayOf(way), sizes: at }] : elsewhere;
    if (all.length > 0) merged.set(mark, all);
    else merged.delete(mark);
  };
  for (const result of tuned) {
    if ("failure" in result) continue;
    const { mark, fixedMark, finding } = result;
    put(mark, sizes, finding);
    if (fixedMark !== undefined && fixedMark !== mark) put(fixedMark, {}, finding);
  }
  return merged;
}
