/**
 * Findings: what timing kernels on an adapter has shown, as data that the choice of schedules honours. Who times and keeps
 * them is no matter of the compiler.
 */
import type { Sizes } from "../ir/dim.ts";
import type { AdapterFacts } from "./facts.ts";
import type { Settings } from "./schedule.ts";
import type { ScheduleTables } from "./schedules/tables.ts";

/** The schedule and settings that were the fastest for kernels of a shape. */
export interface Finding {
  readonly schedule: string;
  readonly settings: Settings;
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

/**
 * A mark of the schedules themselves: of another one, findings say nothing. Their code is part of it, since a schedule that
 * makes other kernels under the same name may be faster or slower than it was.
 */
export const markOfTables = (tables: ScheduleTables, facts: AdapterFacts): string =>
  markOf(
    Object.entries(tables)
      .flatMap(([kind, { schedules }]) =>
        schedules.map((s) => [kind, s.name, JSON.stringify(s.settings(facts)), s.fits, s.cost, s.lower].join(" ")),
      )
      .join("\n"),
  );
