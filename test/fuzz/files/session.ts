/** The saved progress of a long run over files: for each format the seeds that are done, and their findings. */
import { existsSync, readFileSync } from "node:fs";
import { writeFileAtomically } from "../../../runtime/index.ts";
import type { SeedRange } from "../session.ts";

export interface FormatSession {
  readonly done: readonly SeedRange[];
  readonly findings: readonly string[];
}

export type FileSession = Record<string, FormatSession>;

const none: FormatSession = { done: [], findings: [] };

/** The session saved in a file, or a new one. */
export const openFileSession = (path: string | undefined): FileSession =>
  path !== undefined && existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as FileSession) : {};

export const saveFileSession = (path: string, session: FileSession): Promise<void> =>
  writeFileAtomically(path, `${JSON.stringify(session, null, 1)}\n`);

export const sessionOf = (session: FileSession, format: string): FormatSession => session[format] ?? none;

/** The first contiguous seeds of a range that are not done; undefined where all are. */
export function firstMissing([from, to]: SeedRange, done: readonly SeedRange[]): SeedRange | undefined {
  let first = from;
  for (const [a, b] of done) if (a <= first && first < b) first = b; // they are sorted
  if (first >= to) return undefined;
  return [first, Math.min(to, ...done.map(([a]) => a).filter((a) => a > first))];
}

/** How many seeds of a range are done. */
export const countDone = ([from, to]: SeedRange, done: readonly SeedRange[]): number =>
  done.reduce((n, [a, b]) => n + Math.max(0, Math.min(to, b) - Math.max(from, a)), 0);
