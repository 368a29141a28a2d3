/** Tiled attention in workgroup memory, for adapters without matrix units and for operands these do not take. */
import { typical, typicalSpan } from "../../../fusion/index.ts";
import { type AdapterFacts, noSharing, tooManyThreads, tooMuchMemory } from "../../facts.ts";
import type { Fit, Schedule } from "../../schedule.ts";
import { type AttentionProblem, knownWidths } from "./problem.ts";
import { lowerShared } from "./shared-lowering.ts";
import { accumulatorsOf, columnsOf, rowsOf, type SharedTile, sharedBytes, threadsOf } from "./shared-tile.ts";
import { Frame, type Sides, sidesOf, typicalColumns } from "./sides.ts";

/** Accumulators that a thread can hold besides its logits before registers spill. */
const mostAccumulators = 160;
/** Enough threads to keep a GPU busy. */
const manyThreads = 32768;

/** Shorter vectors are not worth sharing between threads. */
const narrowest = 16;

/** Whether tiles suit a problem, regardless of its number of rows. */
function fitsTiles({ parts }: AttentionProblem, t: SharedTile, facts: AdapterFacts): Fit | Sides {
  const known = knownWidths(parts);
  if (known !== true) return known;
  const sides = sidesOf(parts);
  if (typeof sides === "string") return sides;
  const head = Math.min(Number(parts.dot.size), typicalSpan(parts.widths));
  if (head < narrowest) return `a head dimension of ${head} is too small to stage in workgroup memory`;
  if (threadsOf(t) > facts.maxWorkgroupInvocations) return tooManyThreads(threadsOf(t), facts);
  const bytes = sharedBytes(parts, t);
  if (bytes > facts.maxWorkgroupStorage) return `its tiles ${tooMuchMemory(bytes, facts)}`;
  if (accumulatorsOf(parts, t) > mostAccumulators) return "its accumulators do not fit a thread's registers";
  if (2 * typicalColumns(sides, parts) < columnsOf(t))
    return `a block of ${columnsOf(t)} columns would be more than half padding`;
  return sides;
}

const isRefusal = (fit: Fit | Sides): fit is Fit => fit === true || typeof fit === "string" || "assuming" in fit;

/** Work of all tiles, weighted by their loads from workgroup memory, relative to how busy the adapter is kept. */
function cost({ parts }: AttentionProblem, t: SharedTile): number {
  const sides = sidesOf(parts) as Sides;
  const tiles = Math.ceil(typical(sides.rows) / rowsOf(t));
  const blocks = Math.ceil(typicalColumns(sides, parts) / columnsOf(t));
  const busy = Math.min(1, (tiles * typicalSpan(sides.batch) * threadsOf(t)) / manyThreads);
  return (tiles * rowsOf(t) * blocks * columnsOf(t) * (1 + 1 / t.rows + 16 / rowsOf(t) + 8 / columnsOf(t))) / busy;
}

const lower: Schedule<AttentionProblem, SharedTile>["lower"] = ({ k, parts }, t) =>
  lowerShared(new Frame(k, parts, sidesOf(parts) as Sides), t);

export const attentionTiles: Schedule<AttentionProblem, SharedTile> = {
  name: "shared-tiles",
  summary:
    "flash attention with tiles of both sides in workgroup memory: each thread computes a block of logits, and accumulates some columns of the result",
  settings: ({ software }) => {
    if (software) return noSharing;
    const shapes = [
      [16, 16],
      [16, 8],
      [8, 16],
      [8, 8],
      [4, 16],
    ] as const;
    return shapes.flatMap(([threadsDown, threadsAcross]) =>
      [32, 16].map((depth) => ({ threadsDown, threadsAcross, rows: 4, single: 0, depth })),
    );
  },
  fits: (problem, t, facts) => {
    const sides = fitsTiles(problem, t, facts);
    if (isRefusal(sides)) return sides;
    return 2 * typical(sides.rows) >= rowsOf(t) || `a tile of ${rowsOf(t)} rows would be more than half padding`;
  },
  cost,
  lower,
};

/** Rows per tile, and those for which an open number of rows gets a variant. */
const fewest = [1, 2, 4, 8] as const;
const openVariants: readonly number[] = [1, 4];

export const attentionFewRows: Schedule<AttentionProblem, SharedTile> = {
  name: "few-rows",
  summary: "for a few rows, as in decoding: the threads of a workgroup share them and split the other side",
  settings: ({ software }) =>
    software
      ? noSharing
      : fewest.flatMap((rows) =>
          [64, 32].map((threadsAcross) => ({ threadsDown: 1, threadsAcross, rows, single: 1, depth: 16 })),
        ),
  byRange: true,
  fits: (problem, t, facts) => {
    const sides = fitsTiles(problem, t, facts);
    if (isRefusal(sides)) return sides;
    if (typeof sides.rows !== "number")
      return openVariants.includes(t.rows)
        ? { assuming: [{ dim: sides.rows, max: t.rows }] }
        : `a symbolic number of rows has variants for ${openVariants.join(" and ")} rows only`;
    return sides.rows <= t.rows || `there are ${sides.rows} rows, more than the ${t.rows} of a tile`;
  },
  cost,
  lower,
};
