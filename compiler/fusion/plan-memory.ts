/**
 * The memory plan: a buffer for every tensor that kernels read or write. Activations with disjoint live ranges share
 * slots; a state's successor replaces the state.
 */

import { type Dim, dimValue, type Sizes } from "../ir/dim.ts";
import { type Graph, inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isConstant } from "../ir/op.ts";
import { isResident } from "./fused-kernel.ts";
import { type Life, livesOf, rootIn } from "./liveness.ts";
import type { BufferUse, Copy, FusionPlan, MemoryPlan, PlannedMemory } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** Assigns slots by liveness: a slot is free after its tensor's last reader, or until the tensor is recomputed. */
export function planMemory(fusion: FusionPlan): PlannedMemory {
  const { graph } = fusion;
  const rootOf = rootIn(fusion);
  const lives = livesOf(fusion);
  const buffers = new Map<Node, BufferUse>();
  const slots: Dim[][] = [];
  let free: number[] = [];
  /** By slot, the later live ranges of recomputed tensors that it is reserved for. */
  const reserved = new Map<number, Life[]>();
  const beginning = lifeEnds(lives, "from");
  const ending = lifeEnds(lives, "to");
  const slotOf = (root: Node): number | undefined => {
    const use = buffers.get(root);
    return use?.kind === "slot" ? use.slot : undefined;
  };
  const note = (root: Node) => {
    if (buffers.has(root)) return;
    if (isResident(root)) {
      buffers.set(root, { kind: isConstant(root) ? "table" : "input", node: root });
      return;
    }
    const own = lives.get(root) ?? [];
    const fits = (slot: number) => !(reserved.get(slot) ?? []).some((r) => own.some((l) => meet(r, l)));
    const slot = takeSlot(slots, free, deviceBytes(root), fits);
    if (own.length > 1) reserved.set(slot, [...(reserved.get(slot) ?? []), ...own.slice(1)]);
    buffers.set(root, { kind: "slot", slot });
  };
  fusion.kernels.forEach((kernel, i) => {
    // A recomputed tensor returns to its slot, which was reserved for that live range.
    const again = new Set((beginning.get(i) ?? []).map(slotOf).filter((slot) => slot !== undefined));
    if (again.size > 0) free = free.filter((slot) => !again.has(slot));
    for (const r of kernel.reads) note(rootOf(r));
    for (const s of kernel.stores) note(s.to.root);
    for (const node of ending.get(i) ?? []) {
      const slot = slotOf(node);
      if (slot !== undefined) free.push(slot);
    }
  });
  // Outputs that no kernel touches: an input or a table, returned as is.
  for (const { node } of graph.outputs) note(rootOf(node));
  const useOf = (n: Node): BufferUse => buffers.get(rootOf(n)) ?? { kind: "input", node: n };
  return { ...fusion, plan: { buffers, slots, copies: copiesOf(graph, useOf, slots) } };
}

const meet = (a: Life, b: Life): boolean => a.from <= b.to && b.from <= a.to;

/** The tensors whose live ranges begin or end at each kernel. */
function lifeEnds(lives: ReadonlyMap<Node, readonly Life[]>, end: keyof Life): Map<number, Node[]> {
  const at = new Map<number, Node[]>();
  for (const [root, list] of lives)
    for (const life of list) {
      const known = at.get(life[end]);
      if (known) known.push(root);
      else at.set(life[end], [root]);
    }
  return at;
}

/** Bytes of each slot at the sizes of a run. */
export const slotBytes = (plan: MemoryPlan, sizes: Sizes = {}): number[] =>
  plan.slots.map((tensors) => Math.max(...tensors.map((bytes) => dimValue(bytes, sizes))));

const typicalBytes = (tensors: readonly Dim[]): number => Math.max(...tensors.map(typical));

/** Best fit: the free slot that wastes least; if none is large enough, the largest is grown. */
function takeSlot(slots: Dim[][], free: number[], bytes: Dim, fits: (slot: number) => boolean): number {
  const needed = typical(bytes);
  let best = -1;
  for (let i = 0; i < free.length; i++) {
    if (!fits(free[i]!)) continue;
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

/** Adds a tensor to a slot's; of the static sizes, only the largest is kept. */
function withTensor(tensors: readonly Dim[], bytes: Dim): Dim[] {
  const all = [...new Set([...tensors, bytes])];
  const known = all.filter((b) => typeof b === "number");
  const open = all.filter((b) => typeof b !== "number");
  return known.length > 0 ? [Math.max(...known), ...open] : open;
}

/**
 * Copies of successors over their states, as a parallel copy: a state that is itself the successor of another is copied
 * before it is overwritten, and a cycle is broken with a temporary slot.
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
    // Only cycles are left: save the state that the first copy overwrites to a temporary slot.
    const { to, bytes } = waiting[0]!;
    const aside: BufferUse = { kind: "slot", slot: slots.push([bytes]) - 1 };
    copies.push({ from: to, to: aside, bytes });
    waiting = waiting.map((c) => (sameBuffer(c.from, to) ? { ...c, from: aside } : c));
  }
  return copies;
}

const sameBuffer = (a: BufferUse, b: BufferUse): boolean =>
  a.kind === "slot" ? b.kind === "slot" && a.slot === b.slot : b.kind !== "slot" && a.node === b.node;
