/**
 * Arenas: many tensors as ranges of one flat tensor. Parameters, gradients and optimizer state are stored this way, so
 * that an update is one sweep, a checkpoint is written sequentially, and shards are ranges.
 */

import { InternalError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import { rewriteNodes } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isParameter } from "../ir/op.ts";
import { type Axis, elementsOf, type TensorType } from "../ir/type.ts";
import { broadcast, concat, constant, dropAxis, merge, pad, slice, split, transpose } from "../ops/index.ts";

/** Ranges start at multiples of this many elements: 256 bytes of f32, the strictest known binding alignment. */
const arenaAlignment = 64;

/** The most elements of an arena, except for a single larger tensor: 1 GiB of f32, which desktop adapters can bind. */
const largestArena = 2 ** 28;

export interface ArenaEntry {
  readonly name: string;
  readonly type: TensorType;
  /** In elements. */
  readonly offset: number;
  readonly length: number;
}

export interface ArenaLayout {
  readonly entries: readonly ArenaEntry[];
  /** Elements of the whole arena, a multiple of the alignment. */
  readonly size: number;
}

export const arenaAxis = (layout: ArenaLayout): Axis => ({ name: "arena", size: layout.size });

/** Whether a tensor is an arena or a flat range of one. */
export const isArena = ({ axes }: TensorType): boolean => axes.length === 1 && axes[0]!.name === "arena";

/**
 * Assigns ranges to tensors in order, starting a new arena when one would exceed `most` elements, as kernels bind and
 * index only so many. Throws InternalError for a symbolic size.
 */
export function layoutArenas(
  tensors: readonly { readonly name: string; readonly type: TensorType }[],
  most = largestArena,
): ArenaLayout[] {
  const arenas: { entries: ArenaEntry[]; size: number }[] = [];
  for (const { name, type } of tensors) {
    const length = elementsOf(type);
    if (typeof length !== "number")
      throw new InternalError(`"${name}" has the symbolic size ${length}: an arena needs numbers`);
    const taken = Math.max(Math.ceil(length / arenaAlignment), 1) * arenaAlignment;
    let last = arenas.at(-1);
    if (!last || last.size + taken > most) {
      last = { entries: [], size: 0 };
      arenas.push(last);
    }
    last.entries.push({ name, type, offset: last.size, length });
    last.size += taken;
  }
  return arenas;
}

/** A tensor as a view of its range. */
function arenaView(arena: Node, { type, offset, length }: ArenaEntry): Node {
  const range = slice(arena, "arena", offset, length);
  return type.axes.length === 0 ? dropAxis(range, "arena") : split(range, "arena", type.axes);
}

/** Packs tensors into an arena, in the order of its entries; zeros in gaps and for missing tensors. */
export function packArena(layout: ArenaLayout, tensors: readonly (Node | undefined)[]): Node {
  const given = layout.entries.flatMap((entry, i) => (tensors[i] ? [{ entry, tensor: tensors[i] }] : []));
  if (given.length === 0) return broadcast(constant(0), [arenaAxis(layout)]);
  const flat = given.map(({ entry: { type, offset, length }, tensor }, i) => {
    const before = i === 0 ? offset : 0;
    const next = given[i + 1]?.entry.offset ?? layout.size;
    return pad(flatten(tensor, type), "arena", before, next - offset - length);
  });
  return concat(flat, "arena");
}

function flatten(tensor: Node, type: TensorType): Node {
  const names = type.axes.map((a) => a.name);
  if (names.length === 0) return broadcast(tensor, [{ name: "arena", size: 1 }]);
  return merge(transpose(tensor, names), names, "arena");
}

/** The roots with each parameter of the layouts replaced by a view of its arena. */
export function viewNodes(roots: readonly Node[], layouts: readonly ArenaLayout[], arenas: readonly Node[]): Node[] {
  const map = rewriteNodes(roots, viewInstead(layouts, arenas));
  return roots.map((r) => map.get(r)!);
}

function viewInstead(layouts: readonly ArenaLayout[], arenas: readonly Node[]): (node: Node) => Node {
  const places = new Map(layouts.flatMap(({ entries }, i) => entries.map((e) => [e.name, [arenas[i]!, e]] as const)));
  return (node) => {
    const place = isParameter(node) ? places.get(String(node.attrs.name)) : undefined;
    return place ? withoutCapture(() => arenaView(...place)) : node;
  };
}
