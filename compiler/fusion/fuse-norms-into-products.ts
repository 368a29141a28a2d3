/**
 * Fuses a norm between matrix products into those products. Workgroups of the producer, which compute tiles of rows,
 * reduce their part of each row in the epilogue; workgroups of the consumers combine the few partial results of each
 * row in the prologue and normalize elements as they load them.
 */
import type { Node } from "../ir/node.ts";
import { isElementwise } from "../ir/op.ts";
import { findAxis, hasAxis } from "../ir/type.ts";
import { int, keyOf } from "../kernel/index.ts";
import { add, mul } from "../kernel/simplify.ts";
import { cast, is } from "../ops/index.ts";
import type { Env } from "./access.ts";
import { reducedAxes } from "./cores.ts";
import { areDistinct, indicesInRows, readsAlike, runAlong, sidesOf, withRows } from "./fuse-row-epilogues.ts";
import { coresOf, countRegions, type FusedKernel, type Fusion, keptStore } from "./fused-kernel.ts";
import type { Coordinate, Placement } from "./groups.ts";
import { rootIn } from "./liveness.ts";
import type { FusionLimits } from "./materialize.ts";
import { isOne } from "./sizes.ts";

/** How the rows of a kernel that reduces parts of a product's rows map to that product. */
export interface PartsOfProduct {
  /** For each row coordinate except `part`, by name, the axis of the product that it runs along. */
  readonly along: ReadonlyMap<string, string>;
  /** The coordinate that counts the parts of a row. */
  readonly part: Coordinate;
  readonly width: number;
}

/** The product of a kernel that has exactly one. */
export function productOf(kernel: FusedKernel, places: Placement): Node | undefined {
  if (kernel.kind !== "contraction" || kernel.siblings) return undefined;
  const [core, ...others] = coresOf(kernel.group!, kernel.stores, places);
  return others.length === 0 ? core : undefined;
}

/** How the rows of a reduction are parts of a product's rows; undefined if they are not. */
export function partsOfProduct(
  host: FusedKernel,
  follower: FusedKernel,
  places: Placement,
): PartsOfProduct | undefined {
  const core = productOf(host, places);
  const { rows, reduced } = follower.group!;
  const [inner, ...others] = reduced.filter((c) => !isOne(c.axis.size));
  if (!core || !inner || others.length > 0 || typeof inner.axis.size !== "number") return undefined;
  const width = inner.axis.size;
  const sides = sidesOf(core);
  const [column, ...further] = sides.columns.filter((a) => !isOne(a.size));
  const size = column?.size;
  if (typeof size !== "number" || further.length > 0) return undefined;
  const lines = [...sides.rows, ...sides.batch].filter((a) => !isOne(a.size));
  const along = new Map<string, string>();
  let part: Coordinate | undefined;
  const matches = (value: Node, env: Env): boolean => {
    const indices = indicesInRows(host, places, value, env);
    if (!indices || !runAlong(lines, rows, indices, along)) return false;
    const key = keyOf(indices.get(column!.name) ?? int(0));
    const isPart = (c: Coordinate) =>
      c.axis.size === size / width && keyOf(add(mul(c.index, int(width)), inner.index)) === key;
    const found = rows.find(isPart);
    if (!found || (part ?? found) !== found || indices.size !== lines.length + 1) return false;
    part = found;
    return true;
  };
  if (!readsAlike(follower, new Set(host.stores.map((s) => s.value)), places, matches) || !part) return undefined;
  const covered = rows.every((c) => isOne(c.axis.size) || c === part || along.has(c.index.name));
  return covered && areDistinct(along) ? { along, part, width } : undefined;
}

/** Whether an operand of a product is a value itself, or a cast of it. */
const readAs = (operand: Node, value: Node): boolean =>
  operand === value || (is(cast, operand) && operand.operands[0] === value);

/** The kernels of a norm, by index: the producer of its rows, its two reductions, its elementwise part, its readers. */
interface Chain {
  readonly host: number;
  readonly parts: number;
  readonly rows: number;
  readonly elements: readonly number[];
  readonly readers: readonly number[];
}

/** Fuses norms into products where possible; `refused` says why not, by the partial reductions that are left. */
export function fuseNormsIntoProducts(
  fusion: Fusion,
  places: Placement,
  limits: FusionLimits,
  outputs: ReadonlySet<Node>,
): { readonly fusion: Fusion; readonly refused: ReadonlyMap<Node, string> } {
  const refused = new Map<Node, string>();
  if (!limits.rowParts) return { fusion, refused };
  const kernels: (FusedKernel | undefined)[] = [...fusion.kernels];
  const storage = new Map(fusion.storage);
  const index = new Uses(fusion);
  for (const [i, parts] of fusion.kernels.entries()) {
    const host = index.hostOf(parts, i);
    if (host === undefined || !partsOfProduct(fusion.kernels[host]!, parts, places)) continue;
    const chain = chainOf(fusion, index, host, i, places, outputs);
    const joined =
      typeof chain === "string" ? chain : joinedChain({ ...fusion, storage }, kernels, chain, places, limits);
    if (typeof joined === "string") {
      for (const core of parts.group!.cores) refused.set(core, joined);
      continue;
    }
    const { rows, elements } = chain as Chain;
    for (const [at, kernel] of joined) kernels[at] = kernel;
    for (const at of [rows, ...elements]) for (const { value } of fusion.kernels[at]!.stores) storage.delete(value);
  }
  const misses = fusion.misses.filter(({ node }) => storage.has(node) || !fusion.storage.has(node));
  return { fusion: { ...fusion, kernels: kernels.filter((k) => k !== undefined), storage, misses }, refused };
}

/** The writers and readers of each tensor. */
class Uses {
  private readonly kernels: readonly FusedKernel[];
  private readonly rootOf: (value: Node) => Node;
  private readonly writers = new Map<Node, number[]>();
  private readonly readers = new Map<Node, number[]>();

  constructor(fusion: Fusion) {
    this.kernels = fusion.kernels;
    this.rootOf = rootIn(fusion);
    const note = (map: Map<Node, number[]>, roots: Iterable<Node>, i: number) => {
      for (const root of new Set(roots)) map.set(root, [...(map.get(root) ?? []), i]);
    };
    for (const [i, { stores, reads }] of fusion.kernels.entries()) {
      note(
        this.writers,
        stores.map((s) => s.to.root),
        i,
      );
      note(this.readers, [...reads].map(this.rootOf), i);
    }
  }

  writersOf = (value: Node): readonly number[] => this.writers.get(this.rootOf(value)) ?? [];

  /** The kernels that read the stores of a kernel. */
  readersOf = (at: number): readonly number[] => [
    ...new Set(this.kernels[at]!.stores.flatMap((s) => this.readers.get(s.to.root) ?? [])),
  ];

  /** The earlier kernel that stores everything computed that a reduction reads, if there is one. */
  hostOf({ kind, reads, siblings, epilogues }: FusedKernel, before: number): number | undefined {
    if (kind !== "row_reduction" || siblings || epilogues) return undefined;
    const [host, ...others] = new Set([...reads].flatMap(this.writersOf));
    if (host === undefined || others.length > 0 || host >= before || this.kernels[host]!.epilogues) return undefined;
    const made = new Set(this.kernels[host]!.stores.map((s) => s.value));
    return [...reads].every((r) => made.has(r) || !this.writersOf(r).includes(host)) ? host : undefined;
  }
}

/** The kernels of the norm that a partial reduction begins, or why they cannot be fused. */
function chainOf(
  { kernels, storage }: Fusion,
  uses: Uses,
  host: number,
  parts: number,
  places: Placement,
  outputs: ReadonlySet<Node>,
): Chain | string {
  const isOut = (at: number) =>
    kernels[at]!.stores.some(
      ({ value, to }) => outputs.has(value) || to.root !== value || storage.get(value)?.root !== value,
    );
  const [rows, ...others] = uses.readersOf(parts);
  const elements = rows === undefined ? [] : uses.readersOf(rows);
  const readers = [...new Set(elements.flatMap(uses.readersOf))];
  // The elementwise part may also read per-row values of the partial reduction; they are kept in the workgroup too.
  const areOwn =
    elements.length > 0 &&
    others.every((o) => elements.includes(o)) &&
    elements.every((e) => kernels[e]!.kind === "elementwise") &&
    kernels[rows!]!.kind === "row_reduction" &&
    !kernels[rows!]!.siblings;
  if (rows === undefined || !areOwn) return "other kernels read its row statistics too";
  if ([parts, rows, ...elements].some(isOut)) return "its result is a graph output or part of another tensor";
  const kept = kernels[rows]!.stores.map((s) => s.value);
  for (const at of readers) {
    const core = productOf(kernels[at]!, places);
    if (!core) return "a kernel other than a product reads it";
    const values = elements
      .flatMap((e) => kernels[e]!.stores.map((s) => s.value))
      .filter((v) => kernels[at]!.reads.has(v));
    const reason = values.map((value) => whyNotLoaded(kernels[at]!, core, value, kept)).find((r) => r !== undefined);
    if (reason) return reason;
  }
  return { host, parts, rows, elements, readers };
}

/** Why a product cannot normalize a value as it loads it. */
function whyNotLoaded(reader: FusedKernel, core: Node, value: Node, kept: readonly Node[]): string | undefined {
  const [operand, ...others] = core.operands.filter((o) => readAs(o, value));
  if (!operand || others.length > 0) return "a product reads it through a movement op";
  const over = new Set(reducedAxes(core).map((a) => a.name));
  const [long] = value.type.axes.filter((a) => !isOne(a.size) && kept.every((k) => !hasAxis(k.type, a.name)));
  if (!long || !over.has(long.name)) return "a product that reads it does not sum over the normalized axis";
  const rowAxes = kept.flatMap((k) => k.type.axes).filter((a) => !isOne(a.size));
  if (rowAxes.some((a) => findAxis(core.type, a.name)?.size !== a.size))
    return "a product that reads it sums over its row axes too";
  // Only elementwise ops may be between the value and the statistics of its rows.
  const seen = new Set<Node>();
  const reachesMoved = (n: Node, moved: boolean): boolean => {
    if (kept.includes(n)) return moved;
    if (seen.has(n)) return false;
    seen.add(n);
    return n.operands.some((o) => reachesMoved(o, moved || !isElementwise(n)));
  };
  if (reachesMoved(value, false)) return "its row statistics pass through a movement op before they are used";
  const follows = (n: Node): boolean => n === value || (n !== core && !reader.reads.has(n) && n.operands.some(follows));
  return reader.stores.some((s) => follows(s.value)) ? "the epilogue of a product reads it too" : undefined;
}

/** The per-row values that a value is computed from: as much of its expression as the row reduction can compute. */
function valuesOfRows(value: Node, { group }: FusedKernel, stored: ReadonlySet<Node>, places: Placement): Node[] {
  const found = new Set<Node>();
  const seen = new Set<Node>();
  const visit = (n: Node): void => {
    if (seen.has(n)) return;
    seen.add(n);
    if (stored.has(n) || places.get(n)!.group === group) found.add(n);
    else if (isElementwise(n)) n.operands.forEach(visit);
  };
  visit(value);
  return [...found];
}

/** The kernels of a chain after fusion, by index, undefined for removed ones; or why they cannot be fused. */
function joinedChain(
  fusion: Fusion,
  kernels: readonly (FusedKernel | undefined)[],
  { host: at, parts, rows, elements, readers }: Chain,
  places: Placement,
  { maxBindings, rowParts }: FusionLimits,
): ReadonlyMap<number, FusedKernel | undefined> | string {
  const [host, follower, whole] = [kernels[at]!, kernels[parts]!, kernels[rows]!];
  const made = new Set(host.stores.map((s) => s.value));
  const joined = new Map<number, FusedKernel | undefined>([parts, rows, ...elements].map((i) => [i, undefined]));
  const { width } = partsOfProduct(host, follower, places)!;
  joined.set(at, { ...withRows(host, follower, made), partWidth: width });
  const stored = new Set(whole.stores.map((s) => s.value));
  for (const i of readers) {
    const reader = kernels[i]!;
    const normed = elements.map((e) => kernels[e]!).filter((e) => e.stores.some((s) => reader.reads.has(s.value)));
    const values = new Set(normed.flatMap((e) => e.stores.map((s) => s.value)));
    const reads = [...reader.reads, ...normed.flatMap((e) => [...e.reads]), ...whole.reads];
    const kept = [...values].flatMap((v) => valuesOfRows(v, whole, stored, places));
    const prologue: FusedKernel = { ...whole, stores: [...new Set(kept)].map(keptStore) };
    joined.set(i, {
      ...reader,
      reads: new Set(reads.filter((r) => !values.has(r) && !stored.has(r))),
      prologues: [...(reader.prologues ?? []), prologue],
    });
  }
  for (const kernel of joined.values()) {
    if (!kernel) continue;
    const { stores, reads } = kernel;
    const roots = [...reads].map((r) => fusion.storage.get(r) ?? { root: r });
    const bound = countRegions([...stores.map((s) => s.to), ...roots]);
    if (bound > maxBindings)
      return `a product would bind ${bound} buffers, more than the ${maxBindings} that a kernel may bind`;
    const reason = rowParts!.refuses(kernel, fusion, places);
    if (reason) return reason;
  }
  return joined;
}
