/** Programs that are in memory at the same time and run one after another, such as the graphs of a training step. */
import { inputName } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isParameter, isState } from "../ir/op.ts";
import type { PlannedMemory } from "./plan.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** The parts of a program that its neighbours in memory need. */
export type CoresidentProgram = Pick<PlannedMemory, "graph" | "plan">;

/** Whether a store keeps an input between runs: parameters and states. */
export const isKept = (node: Node): boolean => isParameter(node) || isState(node);

/**
 * Bytes of the slots that programs share: the largest slots of all programs share one buffer, then the second largest,
 * and so on, as in the device runtime (backends/webgpu/runtime/shared-slots.ts).
 */
export function sharedSlots(programs: readonly (readonly number[])[]): number[] {
  const sorted = programs.map((slots) => slots.toSorted((a, b) => b - a));
  const count = Math.max(0, ...sorted.map((slots) => slots.length));
  return Array.from({ length: count }, (_, i) => Math.max(...sorted.map((slots) => slots[i] ?? 0)));
}

/** Bytes of the inputs and tables of each program, and of the parameters and states, which programs share. */
export function givenBytes(programs: readonly CoresidentProgram[]): number {
  const kept = new Map(programs.flatMap(({ graph }) => graph.inputs.filter(isKept).map((n) => [inputName(n), n])));
  const own = programs.flatMap(({ graph, plan }) => [
    ...graph.inputs.filter((n) => !isKept(n)),
    ...[...plan.buffers.values()].flatMap((use) => (use.kind === "table" ? [use.node] : [])),
  ]);
  return [...kept.values(), ...own].reduce((n, node) => n + typical(deviceBytes(node)), 0);
}
