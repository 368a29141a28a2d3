/** Tiles of attention that a workgroup shares: how large they are, and what memory and registers they take. */
import type { Settings } from "../../schedule.ts";
import { type Parts, widthsOf } from "./problem.ts";
import type { Vectors } from "./sides.ts";
import { oddPitch } from "./slab.ts";

export interface SharedTile extends Settings {
  /** Threads of a workgroup, down and across a tile. */
  readonly down: number;
  readonly across: number;
  /** Rows of a thread. */
  readonly rows: number;
  /** 1 where one tile has all rows. */
  readonly single: number;
  /** Elements of vectors that one slab has, while logits are made. */
  readonly depth: number;
}

/** Columns of a thread: an access of the strip. */
export const columns = 4;

export const rowsOf = (t: SharedTile): number => t.down * t.rows;
export const columnsOf = (t: SharedTile): number => t.across * columns;
export const threadsOf = (t: SharedTile): number => t.down * t.across;

export const lengthOf = (axes: Vectors["axes"]): number => axes.reduce((n, a) => n * Number(a.size), 1);
/** Fours of a result's row that one thread sums. */
export const foursOf = (length: number, t: SharedTile): number => Math.ceil(length / 4 / t.across);
/** Accesses from one line to the next where whole vectors are brought. */
export const linePitch = (length: number, t: SharedTile): number => oddPitch(4 * foursOf(length, t) * t.across, 4);
export const stripPitch = (t: SharedTile): number => oddPitch(columnsOf(t), 4);

/** The lengths of the vectors that are summed with weights, a result each. */
const summedLengths = (p: Parts): number[] =>
  p.cores.flatMap((core) => (widthsOf(p, core).length > 0 ? [lengthOf(widthsOf(p, core))] : []));

/** Sums that a thread holds in registers. */
export const accumulatorsOf = (p: Parts, t: SharedTile): number =>
  summedLengths(p).reduce((n, length) => n + 4 * t.rows * foursOf(length, t), 0);

/** Accesses of the slab: pieces of the rows and columns, or whole vectors of a few columns. */
export const slabSize = (p: Parts, t: SharedTile): number =>
  Math.max(
    (rowsOf(t) + columnsOf(t)) * oddPitch(t.depth, 4),
    ...summedLengths(p).map((length) => 4 * linePitch(length, t)),
  );

export const sharedBytes = (p: Parts, t: SharedTile): number =>
  16 * (slabSize(p, t) + rowsOf(t) * stripPitch(t)) + 4 * threadsOf(t) * t.rows;
