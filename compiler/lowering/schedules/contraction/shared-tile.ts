/** A contraction's results that a workgroup computes together, from slabs of both operands in memory that it shares. */
import type { AdapterFacts } from "../../facts.ts";
import { stagesOf } from "./slab-loop.ts";

export interface SharedTile extends Readonly<Record<string, number>> {
  readonly rows: number;
  readonly columns: number;
  /** Indices of the contracted axes that one slab has. */
  readonly depth: number;
  /** Rows and columns that each thread computes. */
  readonly perThread: number;
  /** What is under way while a slab is multiplied: a `Prefetch`. */
  readonly prefetch: number;
  /** 1: for when a side that is open until a run turns out no longer than the tile; 0: for any length. */
  readonly short: number;
}

export const threadsOf = ({ rows, columns, perThread }: SharedTile): number => (rows * columns) / perThread ** 2;

/** Fours from one line of a slab to the next: odd, so that threads that store to several lines reach different banks. */
export const pitchOf = (size: number): number => size / 4 + 1;

/** Bytes of its slabs. */
export const sharedBytes = (t: SharedTile): number =>
  16 * stagesOf(t.prefetch) * t.depth * (pitchOf(t.rows) + pitchOf(t.columns));

export const isGranted = (t: SharedTile, facts: AdapterFacts): boolean =>
  sharedBytes(t) <= facts.maxWorkgroupStorage &&
  threadsOf(t) <= Math.min(facts.maxWorkgroupInvocations, facts.maxWorkgroupSize[0]);

/**
 * A tile with how much of a full card's rate it reaches beside the others. On an H200 hand-written tiles of 64 by 128 gave
 * 37.9 TFLOP/s and tiles of 128 by 128 gave 35 at 8192 cubed; the smaller ones are not measured, and read twice as much of
 * their slabs for each product.
 */
interface Rated extends SharedTile {
  readonly rate: number;
}

const rated: readonly Rated[] = [
  { rows: 64, columns: 128, depth: 16, perThread: 8, prefetch: 0, short: 0, rate: 1 },
  { rows: 64, columns: 128, depth: 16, perThread: 8, prefetch: 1, short: 0, rate: 0.99 },
  { rows: 128, columns: 128, depth: 16, perThread: 8, prefetch: 0, short: 0, rate: 0.92 },
  { rows: 128, columns: 128, depth: 16, perThread: 8, prefetch: 1, short: 0, rate: 0.91 },
  { rows: 64, columns: 64, depth: 16, perThread: 4, prefetch: 0, short: 0, rate: 0.6 },
  { rows: 32, columns: 32, depth: 32, perThread: 4, prefetch: 0, short: 0, rate: 0.4 },
];

export const tiles: readonly SharedTile[] = rated.map(({ rate: _, ...tile }) => tile);

/** The tiles for short sides, the shortest first. */
export const shortTiles: readonly SharedTile[] = [32, 64].flatMap((side) =>
  tiles.filter((t) => t.rows === side && t.columns === side).map((t) => ({ ...t, short: 1 })),
);

/** The shorter side of the smallest tile. */
export const leastSide = Math.min(...tiles.map((t) => t.rows));

export const rateOf = (tile: SharedTile): number => {
  const same = ({ rate: _, short: __, ...of }: Rated) =>
    Object.entries(of).every(([name, value]) => tile[name] === value);
  return rated.find(same)!.rate;
};
