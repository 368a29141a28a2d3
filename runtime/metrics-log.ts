/** The metrics of a run as JSON lines: one object per step, readable while the run continues. */
import { fileSystem } from "#host";
import { type AppendFile, createAppendFile, reopenAppendFile } from "./append-file.ts";
import { explainingFaults, fileError } from "./file-errors.ts";
import type { FileSystem } from "./file-system.ts";
import { infoOf, joined, readPieces } from "./files.ts";

/** A line. NaN and infinities, which JSON lacks, are written as the strings "NaN", "Infinity" and "-Infinity". */
export interface MetricsRecord {
  readonly step: number;
  readonly [name: string]: number | string | boolean;
}

export interface MetricsLogOptions {
  /** Steps completed by the resumed run: lines of later steps are truncated. Without it the file must be new. */
  readonly resumeAt?: number;
  readonly fs?: FileSystem;
}

/** A run's log. `append` resolves once the operating system has the line, `flush` once all lines are on disk. */
export interface MetricsLog {
  append(record: MetricsRecord): Promise<void>;
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Opens a log, new or resumed. Throws FileError when a new one already exists, and when a resumed one contains anything
 * but records before its end; a torn last line, as left by a crash, is cut off.
 */
export async function openMetricsLog(path: string, options: MetricsLogOptions = {}): Promise<MetricsLog> {
  const file = await openFile(options.fs ?? fileSystem, path, options.resumeAt);
  const encoder = new TextEncoder();
  return {
    append: (record) => file.append(encoder.encode(`${JSON.stringify(record, nameNonFinite)}\n`)),
    flush: () => file.flush(),
    dispose: () => file.dispose(),
  };
}

const nameNonFinite = (_key: string, value: unknown) =>
  typeof value === "number" && !Number.isFinite(value) ? String(value) : value;

async function openFile(fs: FileSystem, path: string, resumeAt: number | undefined): Promise<AppendFile> {
  if (resumeAt === undefined) return await createAppendFile(fs, path);
  const info = await explainingFaults("read", path, () => infoOf(fs, path));
  if (info === undefined) return await createAppendFile(fs, path);
  const end = await explainingFaults("read", path, () => endOfStep(fs, path, resumeAt));
  return await reopenAppendFile(fs, path, end);
}

/**
 * The end of the last line whose step is at most `lastStep`. Steps must increase, and the log must reach `lastStep`: if
 * it does not, more is missing than a torn last line.
 */
async function endOfStep(fs: FileSystem, path: string, lastStep: number): Promise<number> {
  let end = 0;
  let number = 0;
  let fault: string | undefined;
  let last = Number.NEGATIVE_INFINITY;
  let kept: number | undefined;
  for await (const line of readLines(fs, path)) {
    number++;
    const step = stepOf(line.text);
    if (step === undefined) fault ??= `line ${number} is not a record with a step`;
    else if (fault !== undefined)
      throw notInOrder(path, fault); // only the last line may be torn
    else if (step <= last)
      throw notInOrder(path, `line ${number} is for step ${step}, but follows one for step ${last}`);
    else last = step;
    if (fault === undefined && last <= lastStep) [kept, end] = [last, line.end];
  }
  // Lines reach the disk before their checkpoint does. Only a log begun anew after it has none of them.
  if ((kept ?? lastStep) < lastStep || (fault !== undefined && kept !== lastStep && lastStep > 0))
    throw notInOrder(path, `${fault ?? `it ends with step ${kept}`}, but the run continues after step ${lastStep}`);
  return end;
}

const notInOrder = (path: string, what: string) =>
  fileError(path, what, "fix the line, or move the file away to start a new one");

function stepOf(text: string): number | undefined {
  try {
    const step: unknown = JSON.parse(text)?.step;
    return Number.isSafeInteger(step) ? (step as number) : undefined;
  } catch {
    return undefined;
  }
}

/** The complete lines of a file, each with the offset after its line end; a torn last line is left out. */
export async function* readLines(fs: FileSystem, path: string): AsyncGenerator<{ text: string; end: number }> {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let rest: Uint8Array = new Uint8Array(0);
  let start = 0;
  for await (const piece of readPieces(fs, path)) {
    rest = joined([rest, piece]);
    for (let at = rest.indexOf(0x0a); at >= 0; at = rest.indexOf(0x0a)) {
      start += at + 1;
      yield { text: decoder.decode(rest.subarray(0, at)), end: start };
      rest = rest.subarray(at + 1);
    }
  }
}
