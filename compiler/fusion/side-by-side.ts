/** Programs that lie in memory at the same time and run one after another, as the graphs of a training step. */
import { inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isParameter, isState } from "../ir/op.ts";
import type { PlannedMemory } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** What is asked of a program that lies beside another. */
export type Beside = Pick<PlannedMemory, "graph" | "plan">;

/** What a store keeps between runs. */
export const isKept = (node: Node): boolean => isParameter(node) || isState(node);

/**
 * Bytes of slots that programs share: the largest of each lies where the largest of the others lies, and so on. A device's
 * runtime lays them so (backends/webgpu/runtime/shared-slots.ts).
 */
export function sharedSlots(programs: readonly (readonly number[])[]): number[] {
  const sorted = programs.map((slots) => slots.toSorted((a, b) => b - a));
  const count = Math.max(0, ...sorted.map((slots) => slots.length));
  return Array.from({ length: count }, (_, i) => Math.max(...sorted.map((slots) => slots[i] ?? 0)));
}

/** Bytes of inputs and tables of each program, and of parameters and states, which they have in common. */
export function givenBytes(programs: readonly Beside[]): number {
  const kept = new Map(programs.flatMap(({ graph }) => graph.inputs.filter(isKept).map((n) => [inputName(n), n])));
  const own = programs.flatMap(({ graph, plan }) => [
    ...graph.inputs.filter((n) => !isKept(n)),
    ...[...plan.buffers.values()].flatMap((use) => (use.kind === "table" ? [use.node] : [])),
  ]);
  return [...kept.values(), ...own].reduce((n, node) => n + typical(deviceBytes(node)), 0);
}
