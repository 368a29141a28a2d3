/**
 * Tiled contractions on hardware: a workgroup computes a tile of results from slabs of both operands, which its threads
 * stage in workgroup memory together, so that each element is read from global memory once per tile.
 */
import { spanOf, typical, typicalSpan } from "../../../fusion/index.ts";
import { boundsOf, type Dim } from "../../../ir/dim.ts";
import { type AdapterFacts, noSharing } from "../../facts.ts";
import { type Fit, type Schedule, type SizeFact, tileWaste } from "../../schedule.ts";
import { type ContractionProblem, openSide, type Side, severalProducts } from "./problem.ts";
import { whyNoPartialNorm } from "./row-parts.ts";
import { lowerShared } from "./shared-lowering.ts";
import { isGranted, leastSide, rateOf, type SharedTile, sharedBytes, shortTiles, tiles } from "./shared-tile.ts";

/** Assumed number of processors if the adapter does not report it: that of a large GPU, which favours small tiles. */
const usualProcessors = 128;

export const sharedTiles: Schedule<ContractionProblem, SharedTile> = {
  name: "shared-tiles",
  summary: "a workgroup computes a tile of results from K tiles of both operands, staged in workgroup memory",
  settings: (facts) => (facts.software ? noSharing : [...shortTiles, ...tiles].filter((t) => isGranted(t, facts))),
  fits,
  byRange: true,
  rowParts: [64, 32],
  cost: costOf,
  waste: ({ rows, columns }, tile) =>
    tileWaste([
      [typical(rows.size), tile.rows],
      [typical(columns.size), tile.columns],
    ]),
  lower: lowerShared,
};

/** The time of the tiles that one processor runs one after another, counting the empty parts of edge tiles as work. */
function costOf(problem: ContractionProblem, tile: SharedTile, facts: AdapterFacts): number {
  const workgroups = counts(problem, tile).reduce((n, c) => n * c, 1);
  const turns = Math.ceil(workgroups / (facts.multiprocessors ?? usualProcessors));
  return (turns * tile.rows * tile.columns) / rateOf(tile);
}

/** Workgroups along rows, columns and batches, at typical sizes. */
const counts = ({ rows, columns, batch }: ContractionProblem, tile: SharedTile): number[] => [
  Math.ceil(typical(rows.size) / tile.rows),
  Math.ceil(typical(columns.size) / tile.columns),
  typicalSpan(batch),
];

function fits(problem: ContractionProblem, tile: SharedTile, facts: AdapterFacts): Fit {
  if (problem.products.length > 1) return severalProducts;
  const noParts = whyNoPartialNorm(problem, tile, sharedBytes(tile), facts);
  if (noParts) return noParts;
  const { rows, columns, depth, batch } = problem;
  const short = tile.shortSide ? openSide(problem) : undefined;
  if (tile.shortSide && !short) return "it needs exactly one of M and N to be symbolic";
  if (short && usualLength(problem, short, facts) <= tile.rows) return "the tile that serves any length is no larger";
  const isHollow = (side: Side, length: number) => side !== short && 2 * typical(side.size) < length;
  if (isHollow(rows, tile.rows) || isHollow(columns, tile.columns))
    return `a ${tile.rows}x${tile.columns} tile would be more than half padding`;
  if (typical(depth) < tile.depth) return `K is ${depth}, shorter than a K tile`;
  if (Math.max(...counts(problem, tile)) > facts.maxWorkgroupsPerDimension)
    return `the grid exceeds ${facts.maxWorkgroupsPerDimension} workgroups per dimension`;
  // A dispatch has three lines of workgroups: what is open until a run must fit them.
  const most = facts.maxWorkgroupsPerDimension;
  const lines: SizeFact[] = [
    { dim: rows.size, max: short === rows ? tile.rows : most * leastSide },
    { dim: columns.size, max: short === columns ? tile.columns : most * leastSide },
    { dim: spanOf(batch), max: most },
  ];
  const other = (dim: Dim) => (dim === rows.size ? columns.size : rows.size);
  const open = lines.filter(({ dim, max }) => mostOf(dim, [depth, other(dim)]) > max);
  return open.length === 0 || { assuming: open };
}

/** The extent along a side of the tile that would be chosen for any length. */
function usualLength(problem: ContractionProblem, side: Side, facts: AdapterFacts): number {
  const fitting = tiles.filter((t) => isGranted(t, facts) && typeof fits(problem, t, facts) !== "string");
  const costs = fitting.map((t) => costOf(problem, t, facts));
  const usual = fitting[costs.indexOf(Math.min(...costs))];
  return usual ? (side === problem.rows ? usual.rows : usual.columns) : 0;
}

/** The largest value of a size: its declared bound, or less if a tensor with it would exceed 2^31 - 1 elements. */
function mostOf(dim: Dim, beside: readonly Dim[]): number {
  const least = Math.max(...beside.map((d) => boundsOf(d).min));
  return Math.min(boundsOf(dim).max, Math.floor((2 ** 31 - 1) / least));
}
