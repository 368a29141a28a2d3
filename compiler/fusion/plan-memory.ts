/**
 * The memory plan: a buffer for every tensor that kernels write. Activations share slots where their lifetimes allow;
 * a state's successor takes the place of the state.
 */

import { dtypeBytes } from "../ir/dtype.ts";
import { type Graph, inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isConstant } from "../ir/op.ts";
import { span } from "./access.ts";

import { type FusedKernel, type Fusion, isResident, type Storage } from "./demand.ts";

/** Bytes a tensor takes on a device, where a bool takes four. */
export const deviceBytes = (node: Node): number =>
  span(node.type.axes) * (node.type.dtype === "bool" ? 4 : dtypeBytes[node.type.dtype]);

/** What a buffer holds. */
export type BufferUse =
  | { readonly kind: "input"; readonly node: Node }
  | { readonly kind: "table"; readonly node: Node }
  | { readonly kind: "slot"; readonly slot: number };

export interface MemoryPlan {
  /** The buffer of every tensor that a kernel reads or writes, by its root node. */
  readonly buffers: ReadonlyMap<Node, BufferUse>;
  /** Bytes of each activation slot. */
  readonly slots: readonly number[];
  /** Successors of states that could not be written in place: copied over the state when all kernels are done. */
  readonly copies: readonly { readonly from: Node; readonly to: Node }[];
}

/**
 * Lets successors be stored over the states they replace: where no kernel reads the state afterwards, and the kernel that
 * writes it, if it reads the state, is elementwise and reads each element where it writes it.
 */
export function donate(graph: Graph, fusion: Fusion, inPlace: (kernel: FusedKernel, state: Node) => boolean): Fusion {
  const inputs = new Map(graph.inputs.map((n) => [inputName(n), n]));
  const writer = new Map<Node, number>();
  const lastRead = new Map<Node, number>();
  fusion.kernels.forEach((kernel, i) => {
    for (const s of kernel.stores) writer.set(s.to.root, i);
    for (const r of kernel.reads) lastRead.set(fusion.storage.get(r)?.root ?? r, i);
  });
  const outputs = new Map<Node, number>();
  for (const o of graph.outputs) outputs.set(o.node, (outputs.get(o.node) ?? 0) + 1);
  const taken = new Set<Node>();
  const replaced = new Map<Node, Storage>();
  for (const { name, node } of graph.outputs) {
    const state = name in graph.updates ? inputs.get(graph.updates[name]!) : undefined;
    const storage = fusion.storage.get(node);
    if (!state || !storage || storage.part || storage.root !== node || taken.has(state) || outputs.get(node)! > 1)
      continue;
    const at = writer.get(node)!;
    const read = lastRead.get(state) ?? -1;
    if (read > at || outputs.has(state)) continue;
    if (read === at && !inPlace(fusion.kernels[at]!, state)) continue;
    taken.add(state);
    replaced.set(node, { root: state });
  }
  if (replaced.size === 0) return fusion;
  return applyDonations(fusion, replaced);
}

function applyDonations(fusion: Fusion, replaced: ReadonlyMap<Node, Storage>): Fusion {
  const move = (s: Storage): Storage => {
    const target = replaced.get(s.root);
    return target ? { ...s, root: target.root } : s;
  };
  return {
    kernels: fusion.kernels.map((k) => ({ ...k, stores: k.stores.map((s) => ({ ...s, to: move(s.to) })) })),
    storage: new Map([...fusion.storage].map(([n, s]) => [n, move(s)])),
  };
}

/** Assigns slots by liveness: a slot is free again after the last kernel that reads it. */
export function planMemory(graph: Graph, fusion: Fusion): MemoryPlan {
  const rootOf = (n: Node) => fusion.storage.get(n)?.root ?? n;
  const last = new Map<Node, number>();
  fusion.kernels.forEach((kernel, i) => {
    for (const r of kernel.reads) last.set(rootOf(r), i);
    for (const s of kernel.stores) last.set(s.to.root, i);
  });
  for (const { node } of graph.outputs) last.set(rootOf(node), fusion.kernels.length);
  const buffers = new Map<Node, BufferUse>();
  const slots: number[] = [];
  const free: number[] = [];
  const ending = new Map<number, Node[]>();
  for (const [node, i] of last) ending.set(i, [...(ending.get(i) ?? []), node]);
  const note = (root: Node) => {
    if (buffers.has(root)) return;
    if (isResident(root)) buffers.set(root, { kind: isConstant(root) ? "table" : "input", node: root });
    else buffers.set(root, { kind: "slot", slot: takeSlot(slots, free, deviceBytes(root)) });
  };
  fusion.kernels.forEach((kernel, i) => {
    for (const r of kernel.reads) note(rootOf(r));
    for (const s of kernel.stores) note(s.to.root);
    for (const node of ending.get(i) ?? []) {
      const use = buffers.get(node);
      if (use?.kind === "slot") free.push(use.slot);
    }
  });
  return { buffers, slots, copies: copiesOf(graph, rootOf) };
}

/** The free slot that wastes least; the largest is grown where none is big enough. */
function takeSlot(slots: number[], free: number[], bytes: number): number {
  let best = -1;
  for (let i = 0; i < free.length; i++) {
    const size = slots[free[i]!]!;
    const current = best < 0 ? undefined : slots[free[best]!]!;
    if (
      size >= bytes
        ? current === undefined || current < bytes || size < current
        : current === undefined || (current < bytes && size > current)
    )
      best = i;
  }
  if (best < 0 || slots[free[best]!]! > 4 * bytes + 65536) {
    slots.push(bytes);
    return slots.length - 1;
  }
  const slot = free.splice(best, 1)[0]!;
  slots[slot] = Math.max(slots[slot]!, bytes);
  return slot;
}

function copiesOf(graph: Graph, rootOf: (n: Node) => Node): { from: Node; to: Node }[] {
  const inputs = new Map(graph.inputs.map((n) => [inputName(n), n]));
  return graph.outputs.flatMap(({ name, node }) => {
    const state = name in graph.updates ? inputs.get(graph.updates[name]!) : undefined;
    return state && rootOf(node) !== state ? [{ from: node, to: state }] : [];
  });
}
