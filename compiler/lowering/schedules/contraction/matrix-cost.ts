/**
 * Relative cost of a contraction for a given tile: the time of the tiles that one processor runs one after another,
 * counting the empty parts of edge tiles as work. The rates are of one card, an NVIDIA H200; other adapters use the
 * same figures until their own are known (from a tuner's findings, say). Only their ratios matter.
 */
import type { KernelFacts } from "../../../kernel/index.ts";
import type { MatrixTile } from "./matrix-tile.ts";

/** The sizes of a matrix product. */
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
 * f16 products with f32 accumulation at 8192 cubed, driver 580.159, npm webgpu 0.6.2, 2026-11-28. Half of the fragment
 * loads of these kernels had offsets that Dawn bounds-checks at run time, which ours do not; the cost of that is not
 * measured. The slow one is believed to spill registers.
 */
const measured: readonly Measured[] = [
  { rows: 128, columns: 128, subgroupsDown: 2, n: 16, depth: 32, prefetch: 0, rate: 196 },
  { rows: 128, columns: 128, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 41 },
  { rows: 128, columns: 128, subgroupsDown: 2, n: 8, depth: 32, prefetch: 1, rate: 194 },
  { rows: 256, columns: 128, subgroupsDown: 4, n: 16, depth: 32, prefetch: 1, rate: 173 },
  { rows: 128, columns: 256, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 179 },
  { rows: 64, columns: 64, subgroupsDown: 2, n: 16, depth: 32, prefetch: 1, rate: 137 },
];

/** Unmeasured tiles are assumed to reach the smallest fraction of their bound that a measured one did: 173 of 444. */
const cautious = 0.39;

/** Operations per clock of the synchronous matrix instructions of one multiprocessor: from literature, not measured. */
const operationsPerClock = 2400;
/** Bytes per clock of a multiprocessor's shared memory. */
const sharedBytesPerClock = 128;
/** TFLOP/s of the whole card to which `operationsPerClock` corresponds: 132 multiprocessors at 1.89 GHz. */
const peak = 600;
/** TB/s of the L2 cache: measured. */
const cacheRate = 5.2;

/** Upper bound on a tile's rate (a roofline): the minimum over multiply, shared-memory and L2 throughput. */
function bound(t: MatrixTile): number {
  const multiply = (2 * t.rows * t.columns * t.depth) / operationsPerClock;
  const line = t.depth * t.bytes;
  // Every operand is written to shared memory once, and read once by each subgroup that uses its block.
  const moved = (t.rows * (1 + t.subgroupsAcross) + t.columns * (1 + t.subgroupsDown)) * line;
  const cache = (cacheRate * 2 * t.rows * t.columns) / ((t.rows + t.columns) * t.bytes);
  return Math.min(peak, (peak * multiply * sharedBytesPerClock) / moved, cache);
}

function rateOf(t: MatrixTile): number {
  const same = ({ rate, ...of }: Measured) => Object.entries(of).every(([name, value]) => t[name] === value);
  return measured.find(same)?.rate ?? cautious * bound(t);
}

/** Assumed number of processors if the adapter does not report it: that of a large GPU, which favours small tiles. */
const usualProcessors = 128;

/** Relative throughput of a processor with one workgroup, which cannot overlap loads with compute: not measured. */
const alone = 0.6;

/** With more rows the left operand is assumed not to stay cached across all columns: expected, not measured. */
const cachedRows = 4608;

export function matrixCost({ rows, columns, depth, batch }: ProductSizes, t: MatrixTile, facts: KernelFacts): number {
  const tiles = Math.ceil(rows / t.rows) * Math.ceil(columns / t.columns) * batch;
  const work = t.rows * t.columns * Math.ceil(depth / t.depth) * t.depth;
  const each = tiles / (facts.multiprocessors ?? usualProcessors);
  const turns = each <= 1 ? 1 / alone : Math.ceil(each);
  // At equal rates, grouped tiles are preferred when there are many rows; they are not offered when there are few.
  const order = rows > cachedRows && t.group === 0 ? 1.01 : 1;
  return (order * turns * work) / rateOf(t);
}

/** Candidate limits up to which a small tile may be used for an open number of rows. */
const fewRows = [2048, 1024, 512, 256, 128, 64];

/** The number of rows up to which a tile beats the general one; undefined if it never does. */
export function rowsBelow(sizes: ProductSizes, t: MatrixTile, facts: KernelFacts): number | undefined {
  const as = (m: Measured | undefined): MatrixTile => ({ ...t, ...(m as MatrixTile | undefined) });
  const small = as(measured.find((m) => m.rows === t.rows && m.columns === t.columns));
  const usual = as(measured[0]);
  return fewRows.find(
    (rows) => matrixCost({ ...sizes, rows }, small, facts) < matrixCost({ ...sizes, rows }, usual, facts),
  );
}

/** Why tiles are not grouped by rows; undefined if there are enough rows. */
export const ungrouped = (rows: number): string | undefined =>
  rows > cachedRows ? undefined : `the operands of ${rows} rows fit in the cache without grouping tiles`;
