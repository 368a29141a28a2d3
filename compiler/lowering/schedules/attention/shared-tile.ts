/** Tiles of attention in workgroup memory: their sizes, and the memory and registers they take. */
import type { Settings } from "../../schedule.ts";
import { type Parts, widthsOf } from "./problem.ts";
import type { Vectors } from "./sides.ts";
import { bankFreePitch } from "./slab.ts";

export interface SharedTile extends Settings {
  /** Threads of a workgroup, down and across a tile. */
  readonly threadsDown: number;
  readonly threadsAcross: number;
  /** Rows per thread. */
  readonly rows: number;
  /** 1: a single tile covers all rows. */
  readonly single: number;
  /** Vector elements staged per slab while logits are computed. */
  readonly depth: number;
}

/** Columns per thread: one access of the strip. */
export const columns = 4;

export const rowsOf = (t: SharedTile): number => t.threadsDown * t.rows;
export const columnsOf = (t: SharedTile): number => t.threadsAcross * columns;
export const threadsOf = (t: SharedTile): number => t.threadsDown * t.threadsAcross;

export const lengthOf = (axes: Vectors["axes"]): number => axes.reduce((n, a) => n * Number(a.size), 1);
/** Vec4s of a result's row that one thread accumulates. */
export const vec4sOf = (length: number, t: SharedTile): number => Math.ceil(length / 4 / t.threadsAcross);
/** Line pitch in accesses when whole vectors are staged. */
export const linePitch = (length: number, t: SharedTile): number =>
  bankFreePitch(4 * vec4sOf(length, t) * t.threadsAcross, 4);
export const stripPitch = (t: SharedTile): number => bankFreePitch(columnsOf(t), 4);

/** Vector lengths of the results that have an accumulator vector. */
const summedLengths = (p: Parts): number[] =>
  p.cores.flatMap((core) => (widthsOf(p, core).length > 0 ? [lengthOf(widthsOf(p, core))] : []));

/** Accumulators that a thread holds in registers. */
export const accumulatorsOf = (p: Parts, t: SharedTile): number =>
  summedLengths(p).reduce((n, length) => n + 4 * t.rows * vec4sOf(length, t), 0);

/** Size of the slab in accesses: pieces of rows and columns, or whole vectors of a few columns. */
export const slabSize = (p: Parts, t: SharedTile): number =>
  Math.max(
    (rowsOf(t) + columnsOf(t)) * bankFreePitch(t.depth, 4),
    ...summedLengths(p).map((length) => 4 * linePitch(length, t)),
  );

export const sharedBytes = (p: Parts, t: SharedTile): number =>
  16 * (slabSize(p, t) + rowsOf(t) * stripPitch(t)) + 4 * threadsOf(t) * t.rows;
