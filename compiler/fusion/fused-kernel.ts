/** Fused kernels: what each stores and reads, and where values are stored. */
import type { Dim } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf, isConstant, sourceOf } from "../ir/op.ts";
import type { Axis } from "../ir/type.ts";
import type { KernelKind } from "../kernel/index.ts";
import type { Group, Placement } from "./groups.ts";
import { typicalSpan } from "./sizes.ts";

/** Where a value is stored: its own tensor, a part of a concatenation, or a range of a state that it overwrites. */
export interface Storage {
  readonly root: Node;
  readonly part?: Part;
}

export interface Part {
  readonly axis: string;
  readonly offset: Dim;
  /** A run-time scalar that is added to the offset; elements that fall outside the root are not stored. */
  readonly start?: Node;
}

export interface Store {
  readonly value: Node;
  readonly to: Storage;
}

/**
 * What one kernel computes: stores of values, from values it reads; everything between is expressions. `stores` and
 * `reads` include those of the kernels in `siblings`.
 */
export interface FusedKernel {
  readonly kind: KernelKind;
  /** The group that provides its cores and coordinates; absent for a purely elementwise kernel. */
  readonly group?: Group;
  /** The iteration space of an elementwise kernel. */
  readonly axes: readonly Axis[];
  readonly stores: readonly Store[];
  readonly reads: ReadonlySet<Node>;
  /** Horizontally fused kernels: the same dispatch, but workgroups of their own. */
  readonly siblings?: readonly FusedKernel[];
  /** Epilogue reductions, by the workgroups that computed the rows. Nothing else in the dispatch reads its stores. */
  readonly epilogues?: readonly FusedKernel[];
  /** Elements of each part of a row if `epilogues` reduce parts of rows; absent if it reduces whole rows. */
  readonly partWidth?: number;
  /** Prologue reductions over the parts of each row: every workgroup does them for its own rows; nothing is stored. */
  readonly prologues?: readonly FusedKernel[];
}

/** The result of a prologue reduction; it stays in the workgroup. */
export const keptStore = (value: Node): Store => ({ value, to: { root: value } });

/** The main kernel of a dispatch without its siblings and epilogues, followed by these. */
export function piecesOf(kernel: FusedKernel): readonly [FusedKernel, ...FusedKernel[]] {
  const { siblings = [], epilogues = [], ...whole } = kernel;
  const others = [...siblings, ...epilogues];
  if (others.length === 0) return [kernel];
  const piece = (of: FusedKernel, isOwn: (value: Node) => boolean): FusedKernel => {
    return { ...of, stores: kernel.stores.filter((s) => isOwn(s.value)) };
  };
  const valuesOf = others.map((b) => new Set(b.stores.map((s) => s.value)));
  // Kernels in `siblings` read only what their host reads. Take stores from the dispatch: their targets may have
  // changed.
  return [
    piece(whole, (v) => !valuesOf.some((values) => values.has(v))),
    ...others.map((b, i) => piece(b, (v) => valuesOf[i]!.has(v))),
  ];
}

/** A value that a kernel could have recomputed, and why it is read from memory instead. */
export interface NearMiss {
  readonly node: Node;
  readonly reason: string;
}

export interface Fusion {
  /** In an order in which they can run. */
  readonly kernels: readonly FusedKernel[];
  /** Where to read each written value. */
  readonly storage: ReadonlyMap<Node, Storage>;
  /** Missed fusions, for diagnostics; empty for a plan that was parsed from text. */
  readonly misses: readonly NearMiss[];
}

/** A constant tensor of rank 1 or more, which is stored in memory. */
const isTable = (n: Node) => isConstant(n) && n.type.axes.length > 0;

/** Bytes of a value at typical sizes. */
export const bytesOf = (node: Node): number => typicalSpan(node.type.axes) * dtypeBytes[node.type.dtype];

/** Values that need no memory: scalar constants and indices. */
export const isFree = (n: Node): boolean => sourceOf(n) !== undefined && !isGraphInput(n) && !isTable(n);

/** A value that is in memory without a kernel writing it: a graph input or a table. */
export const isResident = (n: Node): boolean => isGraphInput(n) || isTable(n);

/** A range of an input along its outermost axis, such as a parameter in an arena: read in place, never copied. */
export function isView(n: Node): boolean {
  const range = indexMapOf(n)?.range;
  const x = n.operands[0];
  return range !== undefined && isGraphInput(x!) && x!.type.axes[0]!.name === range.axis;
}

/** The number of bindings for these places: one for each tensor and for each part of a tensor. */
export function countRegions(places: readonly Storage[]): number {
  const parts = new Map<Node, Set<Dim | "whole">>();
  for (const { root, part } of places) {
    const offsets = parts.get(root) ?? new Set();
    // A whole tensor and its part at offset 0 are separate bindings.
    parts.set(root, offsets.add(part ? part.offset : "whole"));
  }
  return [...parts.values()].reduce((n, offsets) => n + offsets.size, 0);
}

/** The cores of a group that the stores depend on. */
export function coresOf(g: Group, stores: readonly Store[], places: Placement): Set<Node> {
  const own = new Set(g.cores);
  const used = new Set<Node>();
  const seen = new Set<Node>();
  const stack = stores.map((s) => s.value);
  while (stack.length > 0) {
    const n = stack.pop()!;
    if (seen.has(n) || places.get(n)!.ready < g.position) continue;
    seen.add(n);
    if (own.has(n)) used.add(n);
    stack.push(...n.operands);
  }
  return used;
}
