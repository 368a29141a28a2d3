/** Reads the loss curve from a run's metrics, so that a resumed run reports all of it. */
import { isRecord } from "../cached-file.ts";
import { fileError } from "../file-errors.ts";
import { readText } from "../files.ts";
import { beginAnew } from "../resume-hints.ts";

/** The loss of a step. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** Throws FileError for a line that is not a record of a step. A skipped step may lack a loss. */
export async function readLosses(path: string): Promise<LossPoint[]> {
  const text = await readText(path);
  if (text === undefined) throw fileError(path, "it no longer exists", beginAnew);
  return text.split("\n").flatMap((line, i) => {
    if (line === "") return [];
    const point = parsed(line);
    if (point) return point.loss === undefined ? [] : [point as LossPoint];
    const hint = `fix the line, or ${beginAnew}`;
    throw fileError(path, `line ${i + 1} is not a record of a step and its loss`, hint);
  });
}

/** How the file stores numbers that JSON lacks. */
const nonFinite: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

function parsed(line: string): Partial<LossPoint> | undefined {
  try {
    const record: unknown = JSON.parse(line);
    if (!isRecord(record) || !Number.isSafeInteger(record.step)) return undefined;
    const { loss } = record;
    const value = typeof loss === "string" && Object.hasOwn(nonFinite, loss) ? nonFinite[loss] : loss;
    if (value === undefined) return {};
    return typeof value === "number" ? { step: record.step as number, loss: value } : undefined;
  } catch {
    return undefined;
  }
}
