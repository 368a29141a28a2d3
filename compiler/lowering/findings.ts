/**
 * Findings: what timing kernels on an adapter has shown, as data that the choice of schedules honours. Who times and keeps
 * them is no matter of the compiler.
 */
import type { Sizes } from "../ir/dim.ts";

/** The schedule and settings that were the fastest for kernels of a shape. */
export interface Finding {
  readonly schedule: string;
  readonly settings: Readonly<Record<string, number>>;
  /** The open sizes at which it was timed: it replaces what would run at these. */
  readonly sizes: Sizes;
}

/** Findings by the mark of a kernel's shape. */
export type Findings = ReadonlyMap<string, readonly Finding[]>;

/**
 * A text in 16 hexadecimal digits: short enough to be the name of a kernel's shape in a file. Two shapes of one mark would
 * at worst share a finding, which is honoured only where it fits. FNV-1a of 64 bits.
 */
export function markOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < text.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** Bounds of a symbol, as keys have them. */
const bounds = /\{\d+\.\.(?:\d+|Infinity)\/\d+\}/g;

/** The mark of a kernel's shape. How far its open sizes may go is no part of it: a finding is of the sizes it was timed at. */
export const markOfShape = (key: string): string => markOf(key.replace(bounds, ""));
