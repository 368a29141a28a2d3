/** How near kernels come to what an adapter can do at most, and what keeps them from more. */
import type { Ceilings } from "../backends/webgpu/index.ts";
import { bytes, short } from "./output.ts";

/** What there is to know of a kernel, at the sizes of a run. */
export interface KernelWork {
  readonly kind: string;
  /** Bytes read and written, each tensor once. */
  readonly bytes: number;
  /** Multiplications and additions of its sums. */
  readonly operations: number;
  readonly workgroups: number;
  /** Whether it multiplies on matrix units. */
  readonly onMatrices: boolean;
  /** Why no schedule for matrix units was taken, where one was passed over. */
  readonly noMatrices?: string | undefined;
  /** Share of its tiles that lies past the edges of the problem. */
  readonly waste?: number | undefined;
}

export type Bound = "bytes" | "operations" | "dispatch";

/** The least time that a kernel can take, and what decides it. */
export interface LeastTime {
  readonly by: Bound;
  readonly seconds: number;
}

/** Ceilings as far as they are known. */
export type KnownCeilings = Partial<Ceilings>;

/** The rate that operations can have: that of matrix units where they are used. */
const operationRate = ({ onMatrices }: KernelWork, c: KnownCeilings): number | undefined =>
  onMatrices ? c.matrices : c.f32;

/** Undefined where the ceilings that it takes are not known. */
export function leastTime(work: KernelWork, c: KnownCeilings): LeastTime | undefined {
  const rate = operationRate(work, c);
  if (c.copy === undefined || (work.operations > 0 && rate === undefined)) return undefined;
  const all: LeastTime[] = [
    { by: "bytes", seconds: work.bytes / c.copy },
    { by: "operations", seconds: work.operations > 0 ? work.operations / rate! : 0 },
    { by: "dispatch", seconds: c.dispatch ?? 0 },
  ];
  return all.reduce((most, t) => (t.seconds > most.seconds ? t : most));
}

export interface Rates {
  readonly seconds: number;
  readonly bytesPerSecond: number;
  readonly operationsPerSecond: number;
  /** Of the ceiling that bounds it: 1 is as fast as can be. */
  readonly fraction?: number;
  readonly by?: Bound;
  /** What keeps it from more, in words; empty where nothing is known to. */
  readonly why: readonly string[];
}

/** Above this share of the ceiling there is little to ask for. */
const near = 0.8;
/** Tiles that are emptier than this are worth a word. */
const muchWaste = 0.05;

/** `units` are what workgroups run on side by side, where the adapter's class is known. */
export function ratesOf(work: KernelWork, seconds: number, c: KnownCeilings, units?: number): Rates {
  const least = leastTime(work, c);
  const rates = { seconds, bytesPerSecond: work.bytes / seconds, operationsPerSecond: work.operations / seconds };
  if (!least) return { ...rates, why: reasons(work, seconds, c, units) };
  const fraction = least.seconds / seconds;
  return { ...rates, fraction, by: least.by, why: fraction >= near ? [] : reasons(work, seconds, c, units) };
}

function reasons(work: KernelWork, seconds: number, c: KnownCeilings, units: number | undefined): string[] {
  const { waste = 0, workgroups, noMatrices, operations } = work;
  const why: string[] = [];
  if (c.dispatch !== undefined && seconds < 3 * c.dispatch)
    why.push(`a dispatch alone takes ${microseconds(c.dispatch)} of it`);
  if (units !== undefined && workgroups < units)
    why.push(`${workgroups} workgroups leave ${units - workgroups} of ${units} multiprocessors idle`);
  if (waste >= muchWaste) why.push(`${Math.round(100 * waste)} % of its tiles lies past the edges`);
  if (noMatrices !== undefined && operations > 0 && c.matrices !== undefined)
    why.push(`it multiplies without matrix units: ${noMatrices}`);
  return why;
}

const microseconds = (seconds: number): string => `${Number((seconds * 1e6).toPrecision(3))} µs`;

const words = {
  bytes: "of the rate of copying",
  operations: "of the rate of multiplying",
  dispatch: "of what a dispatch takes",
} as const satisfies Record<Bound, string>;

/** One kernel's rates as lines to be wrapped. */
export function printRates({ seconds, bytesPerSecond, operationsPerSecond, fraction, by, why }: Rates): string[] {
  const rate = operationsPerSecond > 0 ? `, ${short(operationsPerSecond)} operations/s` : "";
  const share = fraction === undefined ? "" : `: ${Math.round(100 * fraction)} % ${words[by!]}`;
  const line = `takes ${microseconds(seconds)}, ${bytes(bytesPerSecond)}/s${rate}${share}`;
  if (fraction !== undefined && fraction >= near) return [line];
  return [line, `why not more: ${why.length > 0 ? why.join("; ") : "no reason but its schedule is known"}`];
}

export const printLeast = ({ by, seconds }: LeastTime): string =>
  `takes at least ${microseconds(seconds)}, by its ${by === "dispatch" ? "dispatch" : by}`;
