/** The tile of results that a workgroup computes from slabs of both operands in workgroup memory. */
import type { AdapterFacts } from "../../facts.ts";
import { stagesOf } from "./slab-loop.ts";

export interface SharedTile extends Readonly<Record<string, number>> {
  readonly rows: number;
  readonly columns: number;
  /** Steps of the sum (K) per slab. */
  readonly depth: number;
  /** Rows, and columns, that each thread computes. */
  readonly perThread: number;
  /** What is in flight while a slab is multiplied: a `Prefetch`. */
  readonly prefetch: number;
  /** 1: specialized for an open side that turns out no longer than the tile; 0: for any length. */
  readonly shortSide: number;
}

export const threadsOf = ({ rows, columns, perThread }: SharedTile): number => (rows * columns) / perThread ** 2;

/** Pitch of a slab's lines in vec4: odd, so that threads that store to several lines hit different banks. */
export const pitchOf = (size: number): number => size / 4 + 1;

/** Bytes of its slabs. */
export const sharedBytes = (t: SharedTile): number =>
  16 * stagesOf(t.prefetch) * t.depth * (pitchOf(t.rows) + pitchOf(t.columns));

export const isGranted = (t: SharedTile, facts: AdapterFacts): boolean =>
  sharedBytes(t) <= facts.maxWorkgroupStorage &&
  threadsOf(t) <= Math.min(facts.maxWorkgroupInvocations, facts.maxWorkgroupSize[0]);

/**
 * A tile and its throughput relative to the others on a full card. On an H200 hand-written tiles of 64 by 128 gave 37.9
 * TFLOP/s and tiles of 128 by 128 gave 35 at 8192 cubed; the smaller ones are not measured, and read twice as much from
 * their slabs per product.
 */
interface Rated extends SharedTile {
  readonly rate: number;
}

const rated: readonly Rated[] = [
  { rows: 64, columns: 128, depth: 16, perThread: 8, prefetch: 0, shortSide: 0, rate: 1 },
  { rows: 64, columns: 128, depth: 16, perThread: 8, prefetch: 1, shortSide: 0, rate: 0.99 },
  { rows: 128, columns: 128, depth: 16, perThread: 8, prefetch: 0, shortSide: 0, rate: 0.92 },
  { rows: 128, columns: 128, depth: 16, perThread: 8, prefetch: 1, shortSide: 0, rate: 0.91 },
  { rows: 64, columns: 64, depth: 16, perThread: 4, prefetch: 0, shortSide: 0, rate: 0.6 },
  { rows: 32, columns: 32, depth: 32, perThread: 4, prefetch: 0, shortSide: 0, rate: 0.4 },
];

export const tiles: readonly SharedTile[] = rated.map(({ rate: _, ...tile }) => tile);

/** The tiles specialized for short sides, the shortest first. */
export const shortTiles: readonly SharedTile[] = [32, 64].flatMap((side) =>
  tiles.filter((t) => t.rows === side && t.columns === side).map((t) => ({ ...t, shortSide: 1 })),
);

/** The shorter side of the smallest tile. */
export const leastSide = Math.min(...tiles.map((t) => t.rows));

export const rateOf = (tile: SharedTile): number => {
  const same = ({ rate: _, shortSide: __, ...of }: Rated) =>
    Object.entries(of).every(([name, value]) => tile[name] === value);
  return rated.find(same)!.rate;
};
