/** The cost model that decides which norms are fused into the products before and after them. */
import { boundsOf } from "../ir/dim.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import { findAxis, hasAxis } from "../ir/type.ts";
import { productOf } from "./fuse-norms-into-products.ts";
import { sidesOf } from "./fuse-row-epilogues.ts";
import { bytesOf, type FusedKernel, type Fusion, type NearMiss } from "./fused-kernel.ts";
import type { Placement } from "./groups.ts";
import type { RowParts } from "./materialize.ts";
import { spanOf, typicalSpan } from "./sizes.ts";
import { summedAxis, sumsParts } from "./split-norm-sums.ts";

/** The fewest rows for which products use tiles of rows. */
const leastRows = 64;
/** Columns of a product's tile; each row is read once per tile across. */
const usualTile = 128;
/** The overhead of a dispatch in bytes of memory traffic that take as long: some 2 µs on a large GPU. */
const bytesOfDispatch = 2 ** 23;
/** How many times faster reads from a cache are than from memory. */
const cacheRate = 2;

/** The sums to split, with the elements of each part, and the norms that are left as they are with the reasons. */
export interface Weighed {
  readonly parted: ReadonlyMap<Node, number>;
  readonly misses: readonly NearMiss[];
}

/** Decides for each norm between products; `refused` gives sums that must not be split, with the reasons. */
export function selectNorms(
  fusion: Fusion,
  places: Placement,
  rowParts: RowParts,
  refused: ReadonlyMap<Node, string>,
): Weighed {
  const { kernels } = fusion;
  const parted = new Map<Node, number>();
  const misses: NearMiss[] = [];
  const makers = new Map(kernels.flatMap((k) => k.stores.map((s) => [s.value, k] as const)));
  for (const norm of kernels) {
    const weighed = normBetween(norm, fusion, makers, places);
    if (!weighed) continue;
    const { cores } = norm.group!;
    const width = widthOf(weighed, rowParts);
    const reason = cores.map((c) => refused.get(c)).find((r) => r) ?? whyNot(weighed, width);
    if (reason) misses.push(...norm.stores.map(({ value }) => ({ node: value, reason })));
    else for (const core of cores) parted.set(core, width!);
  }
  return { parted, misses };
}

/** A norm: the rows that it reads, the values that it stores, and the products that read those. */
interface Norm {
  readonly rows: Node;
  readonly values: readonly Node[];
  readonly readers: readonly FusedKernel[];
  readonly axis: string;
  readonly sums: number;
}

/** A kernel as a norm, if a product computes its rows and only products read its results. */
function normBetween(
  norm: FusedKernel,
  fusion: Fusion,
  makers: ReadonlyMap<Node, FusedKernel>,
  places: Placement,
): (Norm & { readonly places: Placement }) | undefined {
  const { kind, group, reads, stores, siblings, epilogues } = norm;
  if (kind !== "row_reduction" || siblings || epilogues) return undefined;
  const cores = group!.cores;
  const axis = summedAxis(cores[0]!);
  if (axis === undefined || !cores.every((c) => summedAxis(c) === axis && sumsParts(c, cores))) return undefined;
  const values = stores.map((s) => s.value);
  const made = [...reads].filter((r) => makers.has(r) && hasAxis(r.type, axis));
  const [rows, ...others] = made;
  if (!rows || others.length > 0 || rows.type.axes.at(-1)?.name !== axis) return undefined;
  if (!isAsMade(rows, fusion, places)) return undefined;
  if (!productOf(makers.get(rows)!, places) || !values.every((v) => hasAxis(v.type, axis))) return undefined;
  const readers = fusion.kernels.filter((k) => values.some((v) => k.reads.has(v)));
  if (readers.length === 0 || !readers.every((k) => productOf(k, places))) return undefined;
  return { rows, values, readers, axis, sums: cores.length, places };
}

/** Whether rows have a tensor of their own in the product's layout: in a concatenation, no workgroup has whole rows. */
const isAsMade = (rows: Node, { storage }: Fusion, places: Placement): boolean => {
  const at = storage.get(rows);
  const env = places.get(rows)!.env;
  return at?.root === rows && !at.part && env !== undefined && [...env.values()].every((e) => e.kind !== "arith");
};

const lengthOf = ({ rows, axis }: Norm): unknown => findAxis(rows.type, axis)!.size;

/** The preferred width of parts that divides the row length. */
function widthOf(norm: Norm, { widths }: RowParts): number | undefined {
  const length = lengthOf(norm);
  return typeof length === "number" ? widths.find((w) => length % w === 0 && length > w) : undefined;
}

function whyNot(norm: Norm & { readonly places: Placement }, width: number | undefined): string | undefined {
  const { rows, values, readers, axis, sums, places } = norm;
  if (width === undefined)
    return `its row length, ${lengthOf(norm)}, is not a multiple of the columns of a tile's partial reduction`;
  const lines = spanOf(rows.type.axes.filter((a) => a.name !== axis));
  const least = typeof lines === "number" ? lines : boundsOf(lines).min;
  if (least < leastRows) return `it may have only ${least} rows, and fusion pays from ${leastRows} on`;
  const across = readers.reduce((n, reader) => {
    const { columns, rows: down } = sidesOf(productOf(reader, places)!);
    const own = columns.some((c) => hasAxis(rows.type, c.name)) ? down : columns;
    return n + Math.ceil(typicalSpan(own) / usualTile);
  }, 0);
  const elements = typicalSpan(rows.type.axes);
  const perElement = deviceElementBytes(rows.type.dtype) + (4 * sums) / width;
  const normed = values.reduce((n, v) => Math.max(n, deviceElementBytes(v.type.dtype)), 0);
  const apart = values.reduce((n, v) => n + bytesOf(v), bytesOf(rows)) + bytesOfDispatch;
  const cost = (across * elements * (perElement - normed)) / cacheRate;
  if (cost <= apart) return undefined;
  return `its consumers read each row ${across} times, so that normalizing on load costs ${Math.round(cost * cacheRate)} more bytes of cache traffic, and a kernel of its own as much time as ${Math.round(apart * cacheRate)}`;
}
