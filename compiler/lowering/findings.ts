/**
 * Findings: measured kernel timings on an adapter, as data that schedule selection honours. Measuring and storing them
 * is not the compiler's concern.
 */
import type { Sizes } from "../ir/dim.ts";

/** The schedule and settings that were fastest for kernels of a shape. */
export interface Finding {
  readonly schedule: string;
  readonly settings: Readonly<Record<string, number>>;
  /** The open sizes at which it was timed: it replaces what would run at these sizes. */
  readonly sizes: Sizes;
}

/** Findings by the hash of a kernel's shape. */
export type Findings = ReadonlyMap<string, readonly Finding[]>;

/**
 * A hash of a text as 16 hexadecimal digits (64-bit FNV-1a): short enough to name a kernel shape in a file. On a
 * collision two shapes would at worst share a finding, which is only honoured where it fits.
 */
export function markOf(text: string): string {
  let hash = 0xcbf29ce484222325n;
  for (let i = 0; i < text.length; i++) hash = BigInt.asUintN(64, (hash ^ BigInt(text.charCodeAt(i))) * 0x100000001b3n);
  return hash.toString(16).padStart(16, "0");
}

/** The bounds of a symbol as they appear in shape keys. */
const bounds = /\{\d+\.\.(?:\d+|Infinity)\/\d+\}/g;

/** The hash of a kernel's shape, without the bounds of open sizes: a finding is tied to the sizes it was timed at. */
export const markOfShape = (key: string): string => markOf(key.replace(bounds, ""));
