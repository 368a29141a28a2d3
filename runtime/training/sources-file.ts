/** The weights that a run started from, stored in its folder, so that a resumed run uses the same frozen weights. */
import { join, resolve } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { fileError } from "../file-errors.ts";
import { readText, writeFileAtomically } from "../files.ts";
import type { InheritedFrom } from "./inherit.ts";

/** One source of a run. */
export interface RunSource {
  /** Absolute path. */
  readonly path: string;
  readonly fingerprint: string;
}

const fileName = "sources.json";

/** Stores the sources of a run. */
export async function writeSources(folder: string, sources: readonly InheritedFrom[]): Promise<void> {
  const kept = sources.map(({ path, fingerprint }): RunSource => ({ path: resolve(path), fingerprint }));
  await writeFileAtomically(join(folder, fileName), `${JSON.stringify(kept, null, 2)}\n`);
}

/** The sources of a run; none if it started from its initializers. Throws FileError for a damaged file. */
export async function readSources(folder: string): Promise<readonly RunSource[]> {
  const path = join(folder, fileName);
  const text = (await readText(path)) ?? "[]";
  try {
    const sources = JSON.parse(text) as RunSource[];
    if (sources.every((s) => typeof s.path === "string" && typeof s.fingerprint === "string")) return sources;
  } catch {
    // reported below
  }
  throw fileError(path, "it is not a list of sources", "name the weights that the run started from again (--from)");
}

/**
 * Throws UsageError when a run is resumed with weights other than those it started from: its frozen parameters would
 * change midway.
 */
export function requireSameSources(began: readonly RunSource[], now: readonly InheritedFrom[]): void {
  const other = began.find((source, i) => now[i]?.fingerprint !== source.fingerprint);
  if (!other && began.length === now.length) return;
  if (began.length === 0)
    throw new UsageError("the run started from its initializers alone: resume it without other weights (--from)");
  const which = other ? `"${other.path}"` : `${began.length} sources`;
  throw new UsageError(
    `the run started from ${which}, but the weights given now differ: resume with the original weights (--from)`,
  );
}
