/** The saved progress of a long run: the ranges of seeds that are done, the one running, and all findings. */
import { existsSync, readFileSync } from "node:fs";
import { UsageError } from "../../compiler/index.ts";
import { writeFileAtomically } from "../../runtime/index.ts";
import type { Finding } from "./finding.ts";

/** Seeds from `from` up to but not including `to`. */
export type SeedRange = readonly [from: number, to: number];

export interface Session {
  /** The kind of graphs and the executors they ran on; another set is another session. */
  readonly only: readonly string[];
  readonly done: readonly SeedRange[];
  /** The seed that ran when the file was written: after a crash, the one that crashed. */
  readonly running?: number;
  readonly findings: readonly Finding[];
}

/** The session saved in a file, or a new one. Throws UsageError where the file is of other executors. */
export function openSession(path: string | undefined, only: readonly string[]): Session {
  if (path === undefined || !existsSync(path)) return { only, done: [], findings: [] };
  const session = JSON.parse(readFileSync(path, "utf8")) as Session;
  if (session.only.join() === only.join()) return session;
  throw new UsageError(`${path} ran on ${session.only.join(",")}, not on ${only.join(",")}: name another file`);
}

export const saveSession = (path: string, session: Session): Promise<void> =>
  writeFileAtomically(path, `${JSON.stringify(session, null, 1)}\n`);

/** The ranges with one more seed, adjacent ones merged. */
export const withSeed = (done: readonly SeedRange[], seed: number): SeedRange[] => withSeeds(done, [seed, seed + 1]);

/** The ranges with one more, sorted, adjacent ones merged. */
export function withSeeds(done: readonly SeedRange[], more: SeedRange): SeedRange[] {
  const sorted = [...done, more].sort((a, b) => a[0] - b[0]);
  return sorted.reduce<SeedRange[]>((out, [from, to]) => {
    const last = out.at(-1);
    if (last && from <= last[1]) out[out.length - 1] = [last[0], Math.max(last[1], to)];
    else out.push([from, to]);
    return out;
  }, []);
}

/** The seeds of a range that are not done, in order. */
export function* missing([from, to]: SeedRange, done: readonly SeedRange[]): Generator<number> {
  for (let seed = from; seed < to; seed++) if (!done.some(([a, b]) => a <= seed && seed < b)) yield seed;
}
