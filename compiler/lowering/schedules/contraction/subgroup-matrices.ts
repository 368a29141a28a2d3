/**
 * Contractions on matrix units: each subgroup of a workgroup multiplies a block of fragments, loaded from slabs of both
 * operands in workgroup memory. Operands are f16, or what else the units take; accumulation is in f32. Slabs keep an
 * operand's order in memory, so that nothing is transposed on the way. Only earlier, hand-written versions of these
 * kernels have run on hardware (matrix-cost.ts).
 */
import { spanOf, typical, typicalSpan } from "../../../fusion/index.ts";
import { boundsOf } from "../../../ir/dim.ts";
import type { MatrixShape } from "../../../kernel/index.ts";
import { type AdapterFacts, noSubgroupSize } from "../../facts.ts";
import { type Fit, type Schedule, tileWaste } from "../../schedule.ts";
import { matrixCost, type ProductSizes, rowsBelow, ungrouped } from "./matrix-cost.ts";
import { lowerMatrices } from "./matrix-lowering.ts";
import { type MatrixTile, sharedBytes, tilesOf } from "./matrix-tile.ts";
import { type ContractionProblem, holdsHalves, type Side, severalProducts } from "./problem.ts";
import { whyNoPartialNorm } from "./row-parts.ts";

export const subgroupMatrices: Schedule<ContractionProblem, MatrixTile> = {
  name: "subgroup-matrices",
  summary: "subgroups multiply matrices on matrix units (tensor cores), from K tiles staged in workgroup memory",
  features: ["subgroups", "subgroup_matrix"],
  settings,
  fits,
  byRange: true,
  rowParts: [64, 32],
  cost: (problem, t, facts) => matrixCost(typicalSizes(problem), t, facts),
  waste: ({ rows, columns }, tile) =>
    tileWaste([
      [typical(rows.size), tile.rows],
      [typical(columns.size), tile.columns],
    ]),
  lower: lowerMatrices,
};

const typicalSizes = ({ rows, columns, depth, batch }: ContractionProblem): ProductSizes => ({
  rows: typical(rows.size),
  columns: typical(columns.size),
  depth: typical(depth),
  batch: typicalSpan(batch),
});

function settings(facts: AdapterFacts): readonly MatrixTile[] | string {
  const { min, max } = facts.subgroupSizes;
  if (min !== max && !facts.features.has("subgroup_size")) return noSubgroupSize;
  const shapes = facts.matrices.filter((s) => s.result === "f32" && (s.operands === "f16" || s.operands === "f32"));
  if (shapes.length === 0) return "the adapter has no matrix shape that accumulates f16 or f32 in f32";
  const granted = shapes.filter((s) => isDeepest(s, shapes)).flatMap((s) => tilesOf(s, min, facts));
  return granted.length > 0 ? granted : "its K tiles exceed the adapter's workgroup memory";
}

/** Whether no other shape that is otherwise equal has a larger k. */
const isDeepest = (s: MatrixShape, all: readonly MatrixShape[]): boolean =>
  !all.some((o) => o.m === s.m && o.n === s.n && o.operands === s.operands && o.k > s.k);

function fits(problem: ContractionProblem, t: MatrixTile, facts: AdapterFacts): Fit {
  if (problem.products.length > 1) return severalProducts;
  const noParts = whyNoPartialNorm(problem, t, sharedBytes(t), facts);
  if (noParts) return noParts;
  const { rows, columns, batch, depth } = problem;
  const areHalves = holdsHalves(problem, rows) && holdsHalves(problem, columns);
  if (t.bytes === 2 && !areHalves) return "an operand is f32, and the matrix shape is for f16";
  // Halves are widened on their way where the units sum none in f32: Apple's.
  const takesHalves = facts.matrices.some((s) => s.operands === "f16" && s.result === "f32");
  if (t.bytes === 4 && takesHalves && areHalves)
    return "both operands are f16, for which the adapter has other matrix shapes";
  const isOpen = typeof rows.size !== "number";
  if (t.shortSide && !isOpen) return "the tile is for a symbolic number of rows";
  // Where columns leave a choice, the tile for any number of rows is one for many.
  const anyRows = t.m >= 16 && 2 * typical(columns.size) >= usualTile ? usualTile : leastOpen;
  if (!t.shortSide && isOpen && t.rows < anyRows) return `tiles of ${t.rows} rows are for a known number of rows`;
  if ((!isOpen && 2 * rows.size < t.rows) || 2 * typical(columns.size) < t.columns)
    return `a ${t.rows}x${t.columns} tile would be more than half padding`;
  if (typical(depth) < t.depth) return `K is ${depth}, shorter than a K tile`;
  if (t.group > 0) return groupFits(rows, columns, spanOf(batch), t, facts);
  const few = t.shortSide ? rowsBelow(typicalSizes(problem), t, facts) : undefined;
  if (t.shortSide && few === undefined) return "the tile that serves any number of rows is as fast";
  // Facts are the same for all tiles, so that what is chosen among is what one fact allows.
  const most = facts.maxWorkgroupsPerDimension;
  const open = [
    { dim: rows.size, max: few ?? most * (isOpen ? leastOpen : t.rows) },
    { dim: columns.size, max: most * (typeof columns.size === "number" ? t.columns : leastOpen) },
    { dim: spanOf(batch), max: most },
  ].filter(({ dim, max }) => Math.min(boundsOf(dim).max, 2 ** 31 / t.depth) > max);
  return open.length === 0 || { assuming: open };
}

/** The side of the tile that is fastest for many rows. */
const usualTile = 128;

/** The shorter side of the tiles for open sizes. */
const leastOpen = 64;

/** Grouped tiles are for a known and large number of rows. */
function groupFits(rows: Side, columns: Side, batch: unknown, t: MatrixTile, facts: AdapterFacts): true | string {
  if (typeof rows.size !== "number" || typeof columns.size !== "number" || typeof batch !== "number")
    return "tiles are grouped only where all sizes are known";
  const reason = ungrouped(rows.size);
  if (reason) return reason;
  const lines = [Math.ceil(columns.size / t.columns), Math.ceil(rows.size / (t.rows * t.group)) * batch];
  return (
    Math.max(...lines) <= facts.maxWorkgroupsPerDimension ||
    `the grid exceeds ${facts.maxWorkgroupsPerDimension} workgroups per dimension`
  );
}
