/**
 * The memory plan: a buffer for every tensor that kernels write. Activations share slots where their lifetimes allow;
 * a state's successor takes the place of the state.
 */

import { type Dim, dimValue, type Sizes } from "../ir/dim.ts";
import { type Graph, inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isConstant } from "../ir/op.ts";
import { isResident } from "./fused-kernel.ts";
import type { BufferUse, Copy, FusionPlan, MemoryPlan, PlannedMemory } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** Assigns slots by liveness: a slot is free again after the last kernel that reads it. */
export function planMemory(fusion: FusionPlan): PlannedMemory {
  const { graph } = fusion;
  const rootOf = (n: Node) => fusion.storage.get(n)?.root ?? n;
  const last = new Map<Node, number>();
  fusion.kernels.forEach((kernel, i) => {
    for (const r of kernel.reads) last.set(rootOf(r), i);
    for (const s of kernel.stores) last.set(s.to.root, i);
  });
  for (const { node } of graph.outputs) last.set(rootOf(node), fusion.kernels.length);
  const buffers = new Map<Node, BufferUse>();
  const slots: Dim[][] = [];
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
  // What no kernel touches and is handed out all the same: an input or a table as it is.
  for (const { node } of graph.outputs) note(rootOf(node));
  const useOf = (n: Node): BufferUse => buffers.get(rootOf(n)) ?? { kind: "input", node: n };
  return { ...fusion, plan: { buffers, slots, copies: copiesOf(graph, useOf, slots) } };
}

/** Bytes of each slot at the sizes of a run. */
export const slotBytes = (plan: MemoryPlan, sizes: Sizes = {}): number[] =>
  plan.slots.map((tensors) => Math.max(...tensors.map((bytes) => dimValue(bytes, sizes))));

const typicalBytes = (tensors: readonly Dim[]): number => Math.max(...tensors.map(typical));

/** The free slot that wastes least; the largest is grown where none is big enough. */
function takeSlot(slots: Dim[][], free: number[], bytes: Dim): number {
  const needed = typical(bytes);
  let best = -1;
  for (let i = 0; i < free.length; i++) {
    const size = typicalBytes(slots[free[i]!]!);
    const current = best < 0 ? undefined : typicalBytes(slots[free[best]!]!);
    if (
      size >= needed
        ? current === undefined || current < needed || size < current
        : current === undefined || (current < needed && size > current)
    )
      best = i;
  }
  if (best < 0 || typicalBytes(slots[free[best]!]!) > 4 * needed + 65536) return slots.push([bytes]) - 1;
  const slot = free.splice(best, 1)[0]!;
  slots[slot] = withTensor(slots[slot]!, bytes);
  return slot;
}

/** A slot's tensors with one more; of those of known sizes only the largest matters. */
function withTensor(tensors: readonly Dim[], bytes: Dim): Dim[] {
  const all = [...new Set([...tensors, bytes])];
  const known = all.filter((b) => typeof b === "number");
  const open = all.filter((b) => typeof b !== "number");
  return known.length > 0 ? [Math.max(...known), ...open] : open;
}

/**
 * Copies of successors over their states. A state that is itself the successor of another is copied before it is
 * overwritten; where states are exchanged in a circle, one of them waits in a slot of its own.
 */
function copiesOf(graph: Graph, useOf: (n: Node) => BufferUse, slots: Dim[][]): Copy[] {
  const inputs = new Map(graph.inputs.map((n) => [inputName(n), n]));
  let waiting = graph.outputs.flatMap(({ name, node }): Copy[] => {
    const state = name in graph.updates ? inputs.get(graph.updates[name]!) : undefined;
    if (!state) return [];
    const [from, to] = [useOf(node), { kind: "input", node: state } as const];
    return sameBuffer(from, to) ? [] : [{ from, to, bytes: deviceBytes(state) }];
  });
  const copies: Copy[] = [];
  while (waiting.length > 0) {
    const free = waiting.filter((c) => !waiting.some((other) => other !== c && sameBuffer(other.from, c.to)));
    copies.push(...free);
    waiting = waiting.filter((c) => !free.includes(c));
    if (free.length > 0 || waiting.length === 0) continue;
    // Every state that is left is needed by another copy: what the first one would overwrite waits in a slot.
    const { to, bytes } = waiting[0]!;
    const aside: BufferUse = { kind: "slot", slot: slots.push([bytes]) - 1 };
    copies.push({ from: to, to: aside, bytes });
    waiting = waiting.map((c) => (sameBuffer(c.from, to) ? { ...c, from: aside } : c));
  }
  return copies;
}

const sameBuffer = (a: BufferUse, b: BufferUse): boolean =>
  a.kind === "slot" ? b.kind === "slot" && a.slot === b.slot : b.kind !== "slot" && a.node === b.node;
