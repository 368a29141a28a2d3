/** How close kernels come to an adapter's peak rates, and what limits them. */
import type { Ceilings } from "../backends/webgpu/index.ts";
import { bytes, short } from "./output.ts";

/** A kernel's work at the sizes of a run. */
export interface KernelWork {
  readonly kind: string;
  /** Bytes read and written, counting each tensor once. */
  readonly bytes: number;
  /** Multiplications and additions of its reductions. */
  readonly operations: number;
  readonly workgroups: number;
  /** Whether it uses matrix units. */
  readonly onMatrices: boolean;
  /** Why a schedule for matrix units was rejected, if one was. */
  readonly noMatrices?: string | undefined;
  /** Fraction of its tiles outside the problem's bounds. */
  readonly waste?: number | undefined;
}

export type Bound = "bytes" | "operations" | "dispatch";

/** The lower bound of a kernel's time, and what determines it. */
export interface LeastTime {
  readonly by: Bound;
  readonly seconds: number;
}

/** The known ceilings. */
export type KnownCeilings = Partial<Ceilings>;

/** The peak rate of operations: that of matrix units if used. */
const operationRate = ({ onMatrices }: KernelWork, c: KnownCeilings): number | undefined =>
  onMatrices ? c.matrices : c.f32;

/** The lower bound of a kernel's time; undefined if a ceiling it needs is unknown. */
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
  /** Fraction of the ceiling that bounds it: 1 is the maximum. */
  readonly fraction?: number;
  readonly by?: Bound;
  /** What limits it, in words; empty if unknown. */
  readonly why: readonly string[];
}

/** Above this fraction of the ceiling little can be gained. */
const near = 0.8;
/** Tile waste above this is reported. */
const muchWaste = 0.05;

/** `units` is the number of multiprocessors, if the adapter's class is known. */
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
  if (waste >= muchWaste) why.push(`${Math.round(100 * waste)} % of its tiles is past the edges`);
  if (noMatrices !== undefined && operations > 0 && c.matrices !== undefined)
    why.push(`it multiplies without matrix units: ${noMatrices}`);
  return why;
}

const microseconds = (seconds: number): string => `${Number((seconds * 1e6).toPrecision(3))} µs`;

const words = {
  bytes: "of the copy rate",
  operations: "of the multiply rate",
  dispatch: "of what a dispatch takes",
} as const satisfies Record<Bound, string>;

/** One kernel's rates as lines, to be wrapped. */
export function printRates({ seconds, bytesPerSecond, operationsPerSecond, fraction, by, why }: Rates): string[] {
  const rate = operationsPerSecond > 0 ? `, ${short(operationsPerSecond)} operations/s` : "";
  const share = fraction === undefined ? "" : `: ${Math.round(100 * fraction)} % ${words[by!]}`;
  const line = `takes ${microseconds(seconds)}, ${bytes(bytesPerSecond)}/s${rate}${share}`;
  if (fraction !== undefined && fraction >= near) return [line];
  return [line, `why not more: ${why.length > 0 ? why.join("; ") : "no known reason but its schedule"}`];
}

export const printLeast = ({ by, seconds }: LeastTime): string =>
  `takes at least ${microseconds(seconds)}, by its ${by === "dispatch" ? "dispatch" : by}`;
