/**
 * How long a contraction takes in tiles of some kind, as a relative figure: what one processor's tiles take one after
 * another, edges that no result is in counted as work. Rates are of one card, an NVIDIA H200; other adapters choose by the
 * same figures until their own are known (a tuner's findings, say), which are in no unit that would matter.
 */
import type { KernelFacts } from "../../../kernel/index.ts";
import type { MatrixTile } from "./matrix-tile.ts";

/** Sizes of a product. */
export interface ProductSizes {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  readonly batch: number;
}

interface Measured extends Partial<MatrixTile> {
  /** Tera operations a second on a full card. */
  readonly rate: number;
}

/**
 * f16 products summed in f32 at 8192 cubed, driver 580.159, npm webgpu 0.6.2, 2026-11-28. Half of the fragment loads of
 * these kernels had offsets that Dawn checked at run time, which ours have not; what that costs is not measured. The slow
 * one is believed to spill registers.
 */
const measured: readonly Measured[] = [
  { rows: 128, columns: 128, subgroupsDown: 2, n: 16, depth: 32, prefetch: 0, rate: 196 },
  { rows: 128, columns: 128, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 41 },
  { rows: 128, columns: 128, subgroupsDown: 2, n: 8, depth: 32, prefetch: 1, rate: 194 },
  { rows: 256, columns: 128, subgroupsDown: 4, n: 16, depth: 32, prefetch: 1, rate: 173 },
  { rows: 128, columns: 256, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 179 },
  { rows: 64, columns: 64, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 137 },
];

/** What no kernel was measured with is taken to reach the least part of its bound that one of the others did: 173 of 444. */
const cautious = 0.39;

/** Operations that synchronous matrix instructions do in a clock of one multiprocessor: literature, not measured. */
const operationsPerClock = 2400;
/** Bytes that a multiprocessor's shared memory moves in a clock. */
const sharedBytesPerClock = 128;
/** Tera operations a second that `operationsPerClock` stands for on the whole card: 132 multiprocessors at 1.89 GHz. */
const peak = 600;
/** Tera bytes a second that the L2 gives: measured. */
const cacheRate = 5.2;

/** The most that a tile can reach: it multiplies, moves operands within shared memory, and reads them from the L2. */
function bound(t: MatrixTile): number {
  const multiply = (2 * t.rows * t.columns * t.depth) / operationsPerClock;
  const line = t.depth * t.bytes;
  // Every operand is stored once, and read once by each subgroup whose block it is of.
  const moved = (t.rows * (1 + t.subgroupsAcross) + t.columns * (1 + t.subgroupsDown)) * line;
  const cache = (cacheRate * 2 * t.rows * t.columns) / ((t.rows + t.columns) * t.bytes);
  return Math.min(peak, (peak * multiply * sharedBytesPerClock) / moved, cache);
}

function rateOf(t: MatrixTile): number {
  const same = ({ rate, ...of }: Measured) => Object.entries(of).every(([name, value]) => t[name] === value);
  return measured.find(same)?.rate ?? cautious * bound(t);
}

/** Processors of an adapter that does not say how many it has: about those of a large one, so that small tiles are taken early. */
const usualProcessors = 128;

/** What a processor with one workgroup reaches beside one with several, which compute while others load: expected, not measured. */
const alone = 0.6;

/** Beyond this many rows the left operand is no longer taken to stay in a cache while all columns pass: expected, not measured. */
const cachedRows = 4608;

export function matrixCost({ rows, columns, depth, batch }: ProductSizes, t: MatrixTile, facts: KernelFacts): number {
  const tiles = Math.ceil(rows / t.rows) * Math.ceil(columns / t.columns) * batch;
  const work = t.rows * t.columns * Math.ceil(depth / t.depth) * t.depth;
  const each = tiles / (facts.multiprocessors ?? usualProcessors);
  const turns = each <= 1 ? 1 / alone : Math.ceil(each);
  // Of equal rates the tile with groups is preferred where rows are many, and there is no other where they are few.
  const order = rows > cachedRows && t.group === 0 ? 1.01 : 1;
  return (order * turns * work) / rateOf(t);
}

/** As far as small tiles are taken for rows that are open until a run. */
const fewRows = [2048, 1024, 512, 256, 128, 64];

/** Up to how many rows a tile takes less time than the one for any number of rows; undefined where it never does. */
export function rowsBelow(sizes: ProductSizes, t: MatrixTile, facts: KernelFacts): number | undefined {
  const as = (m: Measured | undefined): MatrixTile => ({ ...t, ...(m as MatrixTile | undefined) });
  const small = as(measured.find((m) => m.rows === t.rows && m.columns === t.columns));
  const usual = as(measured[0]);
  return fewRows.find(
    (rows) => matrixCost({ ...sizes, rows }, small, facts) < matrixCost({ ...sizes, rows }, usual, facts),
  );
}

/** Why rows of tiles are not grouped; none where they are many. */
export const ungrouped = (rows: number): string | undefined =>
  rows > cachedRows ? undefined : `${rows} rows are one group`;
