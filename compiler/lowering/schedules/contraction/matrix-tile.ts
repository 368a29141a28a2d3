/** The tile of a workgroup on matrix units: how its subgroups divide it, its settings, and what follows from them. */
import { type KernelFacts, type MatrixShape, maxSubgroupsOf } from "../../../kernel/index.ts";
import { type Prefetch, stagesOf } from "./slab-loop.ts";

export interface MatrixTile extends Readonly<Record<string, number>> {
  /** Shape of one matrix instruction: left [m, k] times right [k, n]. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Bytes per operand element as the matrix units take it. */
  readonly bytes: number;
  /** Tile of the workgroup. */
  readonly rows: number;
  readonly columns: number;
  /** Its grid of subgroups, each with an equal block of the tile. */
  readonly subgroupsDown: number;
  readonly subgroupsAcross: number;
  /** Steps of the sum (K) per slab. */
  readonly depth: number;
  /** What is in flight while a slab is multiplied: a `Prefetch`. */
  readonly prefetch: number;
  /** Tiles down per group, which share their columns before the next columns begin; 0 for all. */
  readonly group: number;
  /** Adjacent result fragments that are passed to the lanes together. */
  readonly strip: number;
  readonly lanes: number;
  /** 1: specialized for an open number of rows that turns out small; 0: for any number. */
  readonly shortSide: number;
}

/** Fragments of a subgroup, down and across. */
export const downOf = (t: MatrixTile): number => t.rows / t.subgroupsDown / t.m;
export const acrossOf = (t: MatrixTile): number => t.columns / t.subgroupsAcross / t.n;
export const subgroupsOf = (t: MatrixTile): number => t.subgroupsDown * t.subgroupsAcross;
export const threadsOf = (t: MatrixTile): number => subgroupsOf(t) * t.lanes;
/** Elements per 16-byte access of a slab. */
export const widthOf = (t: MatrixTile): 4 | 8 => (t.bytes === 2 ? 8 : 4);
/** Pitch of a slab's lines in 16-byte accesses: odd, so that lines begin in different banks. */
export const pitchOf = (line: number, t: MatrixTile): number => line / widthOf(t) + 1;
/** Row pitch of a result strip in units of four f32: odd as well. */
export const stripPitch = (t: MatrixTile): number => (t.n * t.strip) / 4 + 1;
/** Size of all strips, one per subgroup, in units of four f32. */
export const stripSize = (t: MatrixTile): number => subgroupsOf(t) * t.m * stripPitch(t);

/** Workgroup memory of a tile: its slabs, at the larger size of the two possible layouts, and its strips. */
export function sharedBytes(t: MatrixTile): number {
  const slab = (side: number) => 16 * Math.max(side * pitchOf(t.depth, t), t.depth * pitchOf(side, t));
  return stagesOf(t.prefetch) * (slab(t.rows) + slab(t.columns)) + 16 * stripSize(t);
}

/** Whether a tile is within the adapter's limits on workgroup memory and threads. */
const isGranted = (t: MatrixTile, facts: KernelFacts): boolean =>
  sharedBytes(t) <= facts.maxWorkgroupStorage &&
  threadsOf(t) <= Math.min(facts.maxWorkgroupInvocations, facts.maxWorkgroupSize[0]) &&
  subgroupsOf(t) <= maxSubgroupsOf(facts);

/** A tile before the fragment shape is known: `depth` is in bytes. */
interface Outline {
  readonly rows: number;
  readonly columns: number;
  readonly subgroups: readonly [down: number, across: number];
  readonly depth: number;
  readonly prefetch: Prefetch;
  readonly group: 0 | 8;
  readonly shortSide: 0 | 1;
}

const outline = (
  [rows, columns]: readonly [number, number],
  subgroups: readonly [number, number],
  prefetch: Outline["prefetch"],
  depth = 64,
  group: Outline["group"] = 0,
  shortSide: Outline["shortSide"] = 0,
): Outline => ({ rows, columns, subgroups, prefetch, depth, group, shortSide });

/**
 * Tiles for fragments with 16 rows, in the order in which a tuner tries them. Subgroups with 64 by 64 results load the
 * least from shared memory per product; smaller ones are for few rows and for problems with few tiles.
 */
const tall: readonly Outline[] = [
  outline([64, 64], [2, 2], 1, 64, 0, 1),
  outline([128, 128], [2, 2], 0),
  outline([128, 128], [2, 2], 1),
  outline([128, 128], [2, 2], 2),
  outline([256, 128], [4, 2], 1),
  outline([256, 128], [4, 2], 2, 32),
  outline([128, 256], [2, 4], 1),
  outline([128, 160], [2, 2], 1),
  outline([128, 160], [4, 2], 1),
  outline([96, 128], [2, 2], 1),
  outline([64, 128], [2, 2], 1),
  outline([64, 64], [2, 2], 1),
  outline([64, 64], [2, 2], 2),
  outline([32, 128], [1, 4], 1),
  outline([16, 128], [1, 4], 1),
  outline([16, 64], [1, 4], 1),
  outline([128, 128], [2, 2], 0, 64, 8),
  outline([128, 128], [2, 2], 1, 64, 8),
  outline([256, 128], [4, 2], 1, 64, 8),
  outline([256, 128], [4, 2], 2, 32, 8),
];

/**
 * Tiles for fragments with 8 rows: 32 by 32 results a subgroup, as in MLX (mlx/backend/metal/kernels/steel/gemm: 64 by
 * 64 by 16, 2 by 2 simdgroups) and ggml (ggml-webgpu: 2 by 4 subgroups of 4 by 2 matrices). These are known to run well
 * on such hardware, whose subgroups have too few registers for 64 by 64 accumulators.
 */
const flat: readonly Outline[] = [
  outline([64, 64], [2, 2], 0),
  outline([64, 64], [2, 2], 1),
  outline([64, 64], [2, 2], 2),
  outline([64, 128], [2, 4], 0),
  outline([64, 128], [2, 4], 1),
  outline([128, 64], [4, 2], 1),
  outline([32, 64], [1, 2], 0),
];

/** The tiles that an adapter supports for a fragment shape. */
export function tilesOf(shape: MatrixShape, lanes: number, facts: KernelFacts): MatrixTile[] {
  const { m, n, k, operands } = shape;
  const bytes = operands === "f16" ? 2 : 4;
  return (m >= 16 ? tall : flat).flatMap(({ rows, columns, subgroups, depth, prefetch, group, shortSide }) => {
    const [subgroupsDown, subgroupsAcross] = subgroups;
    const fixed = { m, n, k, bytes, rows, columns, subgroupsDown, subgroupsAcross, depth: Math.max(k, depth / bytes) };
    const across = columns / subgroupsAcross / n;
    if (!Number.isInteger(across) || !Number.isInteger(rows / subgroupsDown / m) || fixed.depth % k !== 0) return [];
    // The widest strip that fits: the wider the strip, the fewer stores per row.
    for (let strip = across; strip >= 1; strip--) {
      const tile: MatrixTile = { ...fixed, prefetch, group, strip, lanes, shortSide };
      if (across % strip === 0 && (n * strip) % 8 === 0 && isGranted(tile, facts)) return [tile];
    }
    return [];
  });
}
