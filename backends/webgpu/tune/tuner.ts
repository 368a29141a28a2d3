/**
 * Times the kernels of a graph on an adapter, each shape in every way in which it may be lowered, on tensors of the real
 * sizes. What is faster and computes the same becomes a finding.
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

/** A schedule with its settings. */
export type Way = Pick<Candidate, "schedule" | "settings">;

/** A way with how long a kernel takes by it. */
export interface TimedWay extends Way {
  readonly nanoseconds: number;
}

/** A way that was not timed, and why. */
export interface Skipped extends Way {
  readonly reason: string;
}

/** What was found of the kernels of one shape. */
export interface TunedKernel {
  readonly mark: string;
  /** Of the same kernel where the sizes are fixed: what was found holds for it as well. */
  readonly fixedMark: string | undefined;
  /** Of the first of them. */
  readonly name: string;
  readonly kind: string;
  readonly count: number;
  readonly before: TimedWay;
  readonly after: TimedWay;
  /** All that were timed, the fastest first. */
  readonly timed: readonly TimedWay[];
  readonly skipped: readonly Skipped[];
  /** Undefined where the order of the table is right. */
  readonly finding: Finding | undefined;
}

/** Kernels of which nothing could be found. */
export interface FailedKernel {
  readonly mark: string;
  readonly name: string;
  readonly count: number;
  readonly failure: string;
}

export interface TuneOptions extends Pick<KernelOptions, "schedules" | "findings" | "precision"> {
  /** For the sizes that the graph leaves open. */
  readonly sizes?: Sizes;
  /** Milliseconds for all kernels together: those that seem to take the most time have the most of it. */
  readonly budget: number;
  readonly onKernel?: (done: number, total: number, kernel: TunedKernel | FailedKernel) => void;
  /** Aborting it leaves out what is not yet timed. */
  readonly signal?: AbortSignal;
}

/** Nanoseconds that are measured at once: enough for clocks that tick every 65 microseconds, and to hide a submission. */
const measured = 2e6;
const mostRepetitions = 200;
/** How often each way gets a turn, and how much slower than the fastest one it may be to get another. */
const rounds = 5;
const hopeless = 1.5;
/** A way replaces another when it is faster by more than the noise of a timing. */
const worthIt = 0.98;
/** Sums in another order differ by roundings of f32; results in f16 by one of f16. In units of the largest value. */
const tolerance = { f32: 1e-4, f16: 2e-3 };

/** Tunes every shape of kernel of a graph, as far as the budget goes. Throws what the device fails with as a whole. */
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

/** A guess by which the budget is shared, in bytes: operations are worth what a GPU does while it moves one. */
const operationsPerByte = 10;
const estimate = ({ bytesRead, bytesWritten, flops }: ProgramKernel, sizes: Sizes): number =>
  Math.max(dimValue(bytesRead, sizes) + dimValue(bytesWritten, sizes), dimValue(flops, sizes) / operationsPerByte);

const sameWay = (a: Way, b: Way): boolean =>
  a.schedule === b.schedule && JSON.stringify(a.settings) === JSON.stringify(b.settings);

const wayOf = ({ schedule, settings }: Way): Way => ({ schedule, settings });

/** A way, and the kernel that it makes. */
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

/** Compiles each way and runs it once: those that fail, and those whose numbers are others, are skipped. */
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
  // Drivers compile on several cores, but an adapter that itself runs on them does not.
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

/** Why a kernel may not win: it fails, or it computes something else than what is taken now. */
async function objection(
  gpu: GpuDevice,
  trial: Trial,
  ready: Ready,
  { kernel }: ProgramKernel,
): Promise<string | undefined> {
  try {
    const apart = await scoped(gpu, () => trial.difference(ready));
    const granted = kernel.buffers.some((b) => b.dtype === "f16") ? tolerance.f16 : tolerance.f32;
    return apart <= granted ? undefined : `its results differ by ${apart.toExponential(1)} of the largest`;
  } catch (error) {
    return reasonOf(error);
  }
}

/** Times runners in turns, so that what disturbs one disturbs all; those without hope get no further turn. */
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

/** Why something failed, for a table; a lost device is no matter of one kernel. */
function reasonOf(error: unknown): string {
  if (error instanceof DeviceLostError || !(error instanceof Error)) throw error;
  const [line = ""] = error.message.split("\n");
  return error instanceof HeddleError ? line : `${error.name}: ${line}`;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)]!;
};

/** Findings with those of a tuning in place of what was known of the same kernels at the same sizes. */
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
