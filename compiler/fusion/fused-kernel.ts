/** Fused kernels: what each stores and reads, and where values lie in memory. */
import type { Dim } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf, isConstant, sourceOf } from "../ir/op.ts";
import type { Axis } from "../ir/type.ts";
import type { KernelKind } from "../kernel/index.ts";
import type { Group, Placement } from "./groups.ts";
import { typicalSpan } from "./sizes.ts";

/** Where a value lies: a tensor of its own, or a part of a concatenation's, or of a state that it overwrites a range of. */
export interface Storage {
  readonly root: Node;
  readonly part?: Part;
}

export interface Part {
  readonly axis: string;
  readonly offset: Dim;
  /** A number that runs are given, and that is added to the offset: what falls outside of the root is not stored. */
  readonly start?: Node;
}

export interface Store {
  readonly value: Node;
  readonly to: Storage;
}

/**
 * What one kernel computes: stores of values, from values it reads; everything between is expressions. Stores and reads
 * include those of the kernels beside it.
 */
export interface FusedKernel {
  readonly kind: KernelKind;
  /** The group whose cores and coordinates it has; none for a kernel that is elementwise alone. */
  readonly group?: Group;
  /** The iteration space of an elementwise kernel. */
  readonly axes: readonly Axis[];
  readonly stores: readonly Store[];
  readonly reads: ReadonlySet<Node>;
  /** Kernels that run in the same dispatch, in workgroups of their own. */
  readonly beside?: readonly FusedKernel[];
  /** Reductions of the rows that it makes, by the workgroups that made them. They alone read what it stores. */
  readonly after?: readonly FusedKernel[];
  /** How long the parts of rows are that those after it reduce, each by itself; none where they reduce whole rows. */
  readonly partWidth?: number;
  /** Reductions of few parts of each row that it reads, which every workgroup does for its own rows and stores nowhere. */
  readonly before?: readonly FusedKernel[];
}

/** A value that a reduction before a kernel makes: it stays in the workgroup. */
export const keptStore = (value: Node): Store => ({ value, to: { root: value } });

/** The kernel that a dispatch is named for, without those beside and after it, and then these. */
export function piecesOf(kernel: FusedKernel): readonly [FusedKernel, ...FusedKernel[]] {
  const { beside = [], after = [], ...whole } = kernel;
  const others = [...beside, ...after];
  if (others.length === 0) return [kernel];
  const piece = (of: FusedKernel, isOwn: (value: Node) => boolean): FusedKernel => {
    return { ...of, stores: kernel.stores.filter((s) => isOwn(s.value)) };
  };
  const valuesOf = others.map((b) => new Set(b.stores.map((s) => s.value)));
  // What is beside a kernel reads nothing that it does not; where stores go may have been decided since.
  return [
    piece(whole, (v) => !valuesOf.some((values) => values.has(v))),
    ...others.map((b, i) => piece(b, (v) => valuesOf[i]!.has(v))),
  ];
}

/** A value that a kernel might have computed for itself, and why it is read from memory instead. */
export interface NearMiss {
  readonly node: Node;
  readonly reason: string;
}

export interface Fusion {
  /** In an order in which they can run. */
  readonly kernels: readonly FusedKernel[];
  /** Where each written value is read from. */
  readonly storage: ReadonlyMap<Node, Storage>;
  /** What was not fused although it nearly was; a plan that was read from text has none. */
  readonly misses: readonly NearMiss[];
}

/** A constant with elements, which lies in memory. */
export const isTable = (n: Node) => isConstant(n) && n.type.axes.length > 0;

/** Bytes of a value, at the sizes that choices are made for. */
export const bytesOf = (node: Node): number => typicalSpan(node.type.axes) * dtypeBytes[node.type.dtype];

/** Values that cost nothing to have: scalars known when the kernel is made, and indices. */
export const isFree = (n: Node): boolean => sourceOf(n) !== undefined && !isGraphInput(n) && !isTable(n);

/** A value that memory holds without our writing it. */
export const isResident = (n: Node): boolean => isGraphInput(n) || isTable(n);

/** A range of an input along its slowest axis, such as a parameter in an arena: it is read where it lies. */
export function isView(n: Node): boolean {
  const range = indexMapOf(n)?.range;
  const x = n.operands[0];
  return range !== undefined && isGraphInput(x!) && x!.type.axes[0]!.name === range.axis;
}

/** The buffers that kernels bind for these places: one for each tensor, and for each part of a tensor. */
export function countRegions(places: readonly Storage[]): number {
  const parts = new Map<Node, Set<Dim | "whole">>();
  for (const { root, part } of places) {
    const offsets = parts.get(root) ?? new Set();
    // The whole is bound beside a part that begins where it does.
    parts.set(root, offsets.add(part ? part.offset : "whole"));
  }
  return [...parts.values()].reduce((n, offsets) => n + offsets.size, 0);
}

/** The cores of a group that its stores need. */
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
