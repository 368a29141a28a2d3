/** Tuning results, cached on disk between runs. */
import type { Finding, Findings } from "../compiler/index.ts";
import { areNumbers, isRecord, type MeasuredOn, readCached, writeCached } from "./cached-file.ts";

export interface ReadFindings {
  readonly findings: Findings;
  /** One line on why an existing file was ignored. */
  readonly ignored?: string;
}

type Stored = Readonly<Record<string, readonly Finding[]>>;

/**
 * Reads the results measured under the conditions `basis`. A damaged file, or one with another basis, is ignored, and
 * the result says why.
 */
export async function readFindings(path: string, basis: MeasuredOn): Promise<ReadFindings> {
  const kind = { what: "findings", again: "heddle tune measures them again" };
  const { value = {}, ignored } = await readCached(path, kind, basis, areFindings);
  return { findings: new Map(Object.entries(value)), ...(ignored !== undefined && { ignored }) };
}

/** Writes findings, replacing the file atomically. Throws FileError when that fails. */
export const writeFindings = (path: string, basis: MeasuredOn, findings: Findings): Promise<void> =>
  writeCached(path, basis, Object.fromEntries(findings));

const areFindings = (value: unknown): value is Stored =>
  isRecord(value) && Object.values(value).every((all) => Array.isArray(all) && all.every(isFinding));

const isFinding = (value: unknown): boolean =>
  isRecord(value) && typeof value.schedule === "string" && areNumbers(value.settings) && areNumbers(value.sizes);
