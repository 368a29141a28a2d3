/** `state.json` of a checkpoint: the caller's state, and the size and CRC-32 of the checkpoint's other files. */
import { shown, UsageError } from "../../compiler/index.ts";
import type { Fingerprint } from "../safetensors/writer.ts";
import { sha256 as digestOf } from "../sha256.ts";

/** Any JSON value. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

/** The content of a checkpoint. `sequence` counts the saves of a run across resumes. */
export interface CheckpointRecord {
  readonly sequence: number;
  readonly step: number;
  readonly files: { readonly [name: string]: Readonly<Fingerprint> };
  readonly state: Json;
}

export const stateFileName = "state.json";
const format = "heddle-checkpoint-1";

/** The record as text, ending in a digest of the rest that reveals damage. */
export async function formatRecord(record: CheckpointRecord): Promise<string> {
  const body = { format, ...record };
  return `${JSON.stringify({ ...body, sha256: await digest(body) }, null, 2)}\n`;
}

const digest = (body: unknown): Promise<string> => digestOf(JSON.stringify(body));

/** JSON nested too deeply to serialize was not written by formatRecord. */
async function isIntact(body: unknown, sha256: unknown): Promise<boolean> {
  try {
    return (await digest(body)) === sha256;
  } catch {
    return false;
  }
}

/** Parses the text that formatRecord wrote; returns an error message for any other text. */
export async function parseRecord(text: string): Promise<CheckpointRecord | string> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return `${stateFileName} is not valid JSON`;
  }
  if (typeof parsed !== "object" || parsed === null) return `${stateFileName} is not a JSON object`;
  const { sha256, ...body } = parsed as CheckpointRecord & { format: string; sha256: string };
  if (body.format !== format) return `${stateFileName} has format ${shown(body.format)}, expected "${format}"`;
  if (!(await isIntact(body, sha256))) return `${stateFileName} was changed or damaged after it was written`;
  if (!isRecord(body)) return `${stateFileName} lacks required checkpoint fields`;
  return body;
}

/** The file name of a group, restricted so that a state file cannot point outside its folder. */
export const groupFilePattern = /^([a-z][a-z0-9_-]*)\.safetensors$/;

function isRecord({ sequence, step, files, state }: CheckpointRecord): boolean {
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (!isCount(sequence) || !isCount(step) || state === undefined) return false;
  if (typeof files !== "object" || files === null) return false;
  return Object.entries(files).every(
    ([name, file]) => groupFilePattern.test(name) && isCount(file?.bytes) && isCount(file?.crc32),
  );
}

/**
 * Throws UsageError naming the first value that JSON would drop or change: NaN, for example, would come back as null.
 */
export function requireJson(value: unknown, path = "state"): asserts value is Json {
  if (value === null || typeof value === "string" || typeof value === "boolean") return;
  if (typeof value === "number" && Number.isFinite(value) && !Object.is(value, -0)) return;
  if (Array.isArray(value) || isPlainObject(value)) {
    for (const [key, item] of Object.entries(value)) requireJson(item, `${path}.${key}`);
    return;
  }
  const what = typeof value === "object" ? value.constructor?.name : Object.is(value, -0) ? "-0" : String(value);
  throw new UsageError(`a checkpoint cannot store ${path}: JSON cannot represent ${what}`);
}

const isPlainObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
