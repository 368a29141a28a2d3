/** The memory of a training step as people read it: in all, then by kind. */
import type { MemoryByKind } from "../compiler/index.ts";
import { bytes } from "./output.ts";

/** Rows of a table: the sum first. */
export function memoryRows(memory: MemoryByKind): readonly (readonly [string, string])[] {
  const total = Object.values(memory).reduce((a, b) => a + b, 0);
  return [["memory", bytes(total)], ...Object.entries(memory).map(([kind, n]) => [`  ${kind}`, bytes(n)] as const)];
}
