/** The metrics of a run as JSON lines: one object for each step, readable while the run goes on. */
import { fileSystem } from "#host";
import { type AppendFile, createAppendFile, reopenAppendFile } from "./append-file.ts";
import { explainingFaults, fileError } from "./file-errors.ts";
import type { FileSystem } from "./file-system.ts";
import { infoOf, joined, readPieces } from "./files.ts";

/** A line. Numbers that JSON lacks are written as the texts "NaN", "Infinity" and "-Infinity". */
export interface MetricsRecord {
  readonly step: number;
  readonly [name: string]: number | string | boolean;
}

export interface MetricsLogOptions {
  /** Steps that the resumed run has done: lines of later steps are cut off. Without it the file must be new. */
  readonly resumeAt?: number;
  readonly fs?: FileSystem;
}

/** Writes a run's log. `append` resolves when the system has the line, `flush` when the disk has all of them. */
export interface MetricsLog {
  append(record: MetricsRecord): Promise<void>;
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/**
 * Opens a log, new or resumed. Throws FileError when a new one exists already, and when a resumed one holds something
 * other than records before its end; a torn end, as a crash leaves, is cut off.
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
 * The byte after the last line whose step is at most `lastStep`. Each line is of a later step than the one before, and lines
 * up to that step are there: what was lost of them is no torn end.
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
      throw notInOrder(path, fault); // only the end may be torn
    else if (step <= last) throw notInOrder(path, `line ${number} is of step ${step}, behind one of step ${last}`);
    else last = step;
    if (fault === undefined && last <= lastStep) [kept, end] = [last, line.end];
  }
  // Lines are on the disk before a checkpoint is. A log that was begun anew behind it has none of them.
  if ((kept ?? lastStep) < lastStep || (fault !== undefined && kept !== lastStep && lastStep > 0))
    throw notInOrder(path, `${fault ?? `it ends with step ${kept}`}, and the run goes on after step ${lastStep}`);
  return end;
}

const notInOrder = (path: string, what: string) =>
  fileError(path, what, "mend the line, or move the file away to begin a new one");

function stepOf(text: string): number | undefined {
  try {
    const step: unknown = JSON.parse(text)?.step;
    return Number.isSafeInteger(step) ? (step as number) : undefined;
  } catch {
    return undefined;
  }
}

/** The complete lines of a file, each with the byte after its line end; a torn last one is none. */
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
