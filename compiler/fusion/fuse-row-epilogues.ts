/**
 * Fuses row reductions into the epilogue of the product that computes the rows: if workgroups compute whole rows, the
 * norm after a residual needs no kernel of its own and reads what has just been written. Each thread reads only
 * elements that it wrote itself, so no synchronization through memory is needed.
 */
import { boundsOf, type Dim } from "../ir/dim.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isAffine, isElementwise } from "../ir/op.ts";
import { type Axis, hasAxis } from "../ir/type.ts";
import type { Expr } from "../kernel/index.ts";
import { type Env, envKey, operandEnv, restrict } from "./access.ts";
import { coresOf, countRegions, type FusedKernel, type Fusion, type Storage } from "./fused-kernel.ts";
import type { Coordinate, Placement } from "./groups.ts";
import { rootIn } from "./liveness.ts";
import type { FusionLimits, RowTiles } from "./materialize.ts";
import { isMultipleOf, isOne, spanOf, typicalSpan } from "./sizes.ts";

/** Adjacent columns per lane. */
const perLane = 4;

/** With fewer workgroups, it is better to split columns too: whole-row tiles would leave too many threads idle. */
const leastWorkgroups = 16;

/** Fuses row reductions into products whose workgroups compute whole rows. */
export function fuseRowEpilogues(fusion: Fusion, places: Placement, limits: FusionLimits): Fusion {
  const { rowTiles, maxBindings } = limits;
  if (!rowTiles) return fusion;
  const kernels = [...fusion.kernels];
  const rootOf = rootIn(fusion);
  const writers = new Map<Node, number[]>();
  for (const [i, { stores }] of kernels.entries())
    for (const root of new Set(stores.map((s) => s.to.root))) writers.set(root, [...(writers.get(root) ?? []), i]);
  const joined = new Set<number>();
  for (const [i, follower] of fusion.kernels.entries()) {
    const { reads, stores, kind, siblings } = follower;
    if (kind !== "row_reduction" || siblings || stores.some((s) => isGraphInput(s.to.root))) continue;
    const written = [...reads].flatMap((r) => writers.get(rootOf(r)) ?? []);
    const at = Math.max(-1, ...written);
    const host = kernels[at];
    if (!host || at >= i || joined.has(at)) continue;
    const made = new Set(host.stores.filter((s) => !isGraphInput(s.to.root)).map((s) => s.value));
    // The reduction may read the host's stores only as the host stored them; all other reads are ready before the host.
    if (![...reads].every((r) => made.has(r) || !writers.get(rootOf(r))?.includes(at))) continue;
    if (!makesWholeRows(host, places, rowTiles) || !rowsOfProduct(host, follower, places, rowTiles.lanes)) continue;
    const both = withRows(host, follower, made);
    if (regionsOf(both, fusion.storage) > maxBindings) continue;
    kernels[at] = both;
    joined.add(i);
  }
  return { ...fusion, kernels: kernels.filter((_, i) => !joined.has(i)) };
}

export const withRows = (host: FusedKernel, follower: FusedKernel, made: ReadonlySet<Node>): FusedKernel => ({
  ...host,
  stores: [...host.stores, ...follower.stores],
  reads: new Set([...host.reads, ...[...follower.reads].filter((r) => !made.has(r))]),
  epilogues: [...(host.epilogues ?? []), follower],
});

const regionsOf = ({ stores, reads }: FusedKernel, storage: ReadonlyMap<Node, Storage>): number =>
  countRegions([...stores.map((s) => s.to), ...[...reads].map((r) => storage.get(r) ?? { root: r })]);

/** Whether a kernel is a single product with enough rows for workgroups that compute whole rows. */
function makesWholeRows(host: FusedKernel, places: Placement, { lanes, rows }: RowTiles): boolean {
  if (host.kind !== "contraction" || host.siblings) return false;
  const [core, ...others] = coresOf(host.group!, host.stores, places);
  if (!core || others.length > 0) return false;
  const sides = sidesOf(core);
  const least = (axes: readonly Axis[]) => leastOf(spanOf(axes));
  const workgroups = Math.ceil(least(sides.rows) / rows) * least(sides.batch);
  return workgroups >= leastWorkgroups && least(sides.rows) >= rows && typicalSpan(sides.columns) >= lanes;
}

const leastOf = (dim: Dim): number => (typeof dim === "number" ? dim : boundsOf(dim).min);

/** A product's result axes: columns (which include the last axis), rows, and batch axes, which both operands have. */
export function sidesOf(core: Node) {
  const [a, b] = core.operands as [Node, Node];
  const { axes } = core.type;
  const own = (x: Node, y: Node) => axes.filter((c) => hasAxis(x.type, c.name) && !hasAxis(y.type, c.name));
  const [left, right] = own(a, b).includes(axes.at(-1)!) ? [b, a] : [a, b];
  const batch = axes.filter((c) => hasAxis(a.type, c.name) && hasAxis(b.type, c.name));
  return { rows: own(left, right), columns: own(right, left), batch };
}

/**
 * For each row coordinate of a reduction, by name, the result axis of the product that it runs along. Undefined unless
 * the reduced rows are rows of the result, or ranges of them, and each lane reads only elements that it wrote.
 */
export function rowsOfProduct(
  host: FusedKernel,
  follower: FusedKernel,
  places: Placement,
  lanes: number,
): ReadonlyMap<string, string> | undefined {
  const [core] = coresOf(host.group!, host.stores, places) as Iterable<Node>;
  const { rows, columns, batch } = sidesOf(core!);
  const { rows: ownRows, reduced } = follower.group!;
  const long = reduced.filter((c) => !isOne(c.axis.size));
  const wide = columns.filter((a) => !isOne(a.size));
  const [outer, inner] = [wide.slice(0, wide.length - long.length), wide.slice(wide.length - long.length)];
  // A range starts at the first lane's columns only if its length is a multiple of all lanes' columns.
  const each = outer.length === 0 ? perLane : perLane * lanes;
  const along = new Map<string, string>();
  const matches = (value: Node, env: Env): boolean => {
    const indices = indicesInRows(host, places, value, env);
    if (!indices || !runAlong([...rows, ...batch], ownRows, indices, along)) return false;
    const isSame = (axis: Axis, i: number) => {
      const c = coordinateOf(long, indices.get(axis.name));
      return c !== undefined && c === long[i] && c.axis.size === axis.size;
    };
    if (inner.length !== long.length || !inner.every(isSame)) return false;
    return isMultipleOf(spanOf(inner), each) && outer.every((a) => indices.get(a.name)?.kind === "const");
  };
  const made = new Set(host.stores.map((s) => s.value));
  if (!readsAlike(follower, made, places, matches)) return undefined;
  return areDistinct(along) && ownRows.every((c) => isOne(c.axis.size) || along.has(c.index.name)) ? along : undefined;
}

/** Where a read of a stored value is, by the host's row axes; undefined unless the value has these, whole. */
export function indicesInRows(
  host: FusedKernel,
  places: Placement,
  value: Node,
  env: Env,
): ReadonlyMap<string, Expr> | undefined {
  const indices = new Map<string, Expr>();
  for (const axis of value.type.axes.filter((a) => !isOne(a.size))) {
    const own = coordinateOf(host.group!.rows, places.get(value)!.env!.get(axis.name));
    const index = env.get(axis.name);
    if (!own || !index || own.axis.size !== axis.size) return undefined;
    indices.set(own.axis.name, index);
  }
  return indices;
}

/**
 * Whether each of a product's axes is indexed by one row coordinate of a reduction, the same in all reads. Adds the
 * axis of each coordinate to `along`.
 */
export function runAlong(
  axes: readonly Axis[],
  rows: readonly Coordinate[],
  indices: ReadonlyMap<string, Expr>,
  along: Map<string, string>,
): boolean {
  for (const { name, size } of axes.filter((a) => !isOne(a.size))) {
    const row = coordinateOf(rows, indices.get(name));
    if (!row || row.axis.size !== size || (along.get(row.index.name) ?? name) !== name) return false;
    along.set(row.index.name, name);
  }
  return true;
}

/** Whether no two coordinates run along the same axis. */
export const areDistinct = (along: ReadonlyMap<string, string>): boolean => new Set(along.values()).size === along.size;

/** The coordinate that an index expression is, if it is a plain coordinate. */
export const coordinateOf = (coordinates: readonly Coordinate[], index: Expr | undefined): Coordinate | undefined =>
  index?.kind === "var" ? coordinates.find((c) => c.index.name === index.name) : undefined;

/** Whether `matches` holds for every read of the values in `made` by a kernel. */
export function readsAlike(
  { group, stores, reads }: FusedKernel,
  made: ReadonlySet<Node>,
  places: Placement,
  matches: (value: Node, env: Env) => boolean,
): boolean {
  const seen = new Set<string>();
  const numbers = new Map<Node, number>();
  const isRead = (node: Node) => reads.has(node) && made.has(node);
  const visit = (node: Node, env: Env): boolean => {
    if (isRead(node)) return matches(node, env);
    if (reads.has(node) || node.operands.length === 0) return true;
    if (group!.cores.includes(node)) return true; // visited by itself
    const key = `${numbers.get(node) ?? numbers.set(node, numbers.size).size} ${envKey(env, node)}`;
    if (seen.has(key)) return true;
    seen.add(key);
    if (isElementwise(node)) return node.operands.every((o) => visit(o, restrict(env, o)));
    if (isAffine(node)) return visit(node.operands[0]!, operandEnv(node, env));
    return !reaches(node);
  };
  const reaches = (node: Node, done = new Set<Node>()): boolean => {
    if (isRead(node)) return true;
    if (reads.has(node) || done.has(node)) return false;
    done.add(node);
    return node.operands.some((o) => reaches(o, done));
  };
  const cores = [...coresOf(group!, stores, places)];
  return (
    cores.every((core) => core.operands.every((o) => visit(o, restrict(group!.names, o)))) &&
    stores.every(({ value }) => visit(value, places.get(value)!.env!))
  );
}
