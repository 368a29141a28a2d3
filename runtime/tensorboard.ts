/** Writes scalars as TensorBoard event files. */
import { fileSystem, join } from "#host";
import { type AppendFile, createAppendFile, reopenAppendFile } from "./append-file.ts";
import {
  type EventContent,
  event,
  fileVersion,
  frame,
  hasFrameAfter,
  sessionStart,
  summary,
  wholeFrames,
} from "./event-encoding.ts";
import { explainingFaults, quoted } from "./file-errors.ts";
import type { FileSystem } from "./file-system.ts";
import { infoOf, readWhole } from "./files.ts";

export interface EventLogOptions {
  /**
   * Steps completed by the resumed run: TensorBoard then hides later steps in earlier files. Torn file ends, as left by
   * a killed process, are cut off.
   */
  readonly resumeAt?: number;
  readonly fs?: FileSystem;
  /** Told of an earlier file that is damaged before its end, which is left as it is. */
  readonly note?: (text: string) => void;
  /** Milliseconds since 1970. Default: the system clock. */
  readonly now?: () => number;
}

/** One event file being written. */
export interface EventLog {
  readonly path: string;
  /** Adds values (f32) by tag, such as "train/loss", at a step. */
  scalars(step: number, values: Readonly<Record<string, number>>): Promise<void>;
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/** Starts a new event file in a folder, which is created if missing; TensorBoard reads all files in a folder. */
export async function openEventLog(folder: string, options: EventLogOptions = {}): Promise<EventLog> {
  const fs = options.fs ?? fileSystem;
  const now = options.now ?? Date.now;
  await explainingFaults("create", folder, () => fs.mkdir(folder));
  if (options.resumeAt !== undefined) await cutTornEnds(fs, folder, options.note ?? (() => {}));
  const file = await createEventFile(fs, folder, Math.floor(now() / 1000));
  const send = (step: number, content: EventContent) => file.append(frame(event(now() / 1000, step, content)));
  await send(0, fileVersion);
  if (options.resumeAt !== undefined) await send(options.resumeAt + 1, sessionStart);
  return {
    path: file.path,
    scalars: (step, values) => send(step, summary(values)),
    flush: () => file.flush(),
    dispose: () => file.dispose(),
  };
}

const ours = /tfevents\.(\d+)\.heddle\.\d+$/;

async function cutTornEnds(fs: FileSystem, folder: string, note: (text: string) => void): Promise<void> {
  for (const name of (await fs.readdir(folder)).filter((n) => ours.test(n))) {
    const path = join(folder, name);
    const bytes = await explainingFaults("read", path, () => readWhole(fs, path, largestEvents));
    const end = wholeFrames(bytes);
    if (hasFrameAfter(bytes, end))
      note(`${quoted(path)} is damaged at byte ${end}: TensorBoard may not show what follows in this file`);
    else if (end < bytes.length) await (await reopenAppendFile(fs, path, end)).dispose();
  }
}

/** Maximum bytes of an event file: millions of steps. */
const largestEvents = 2 ** 31 - 1;

/**
 * TensorBoard reads any file with "tfevents" in its name, in the order of names: this one comes last, even if the clock
 * was set back since the others were written.
 */
async function createEventFile(fs: FileSystem, folder: string, now: number): Promise<AppendFile> {
  const newest = Math.max(...(await fs.readdir(folder)).map((name) => Number(ours.exec(name)?.[1] ?? 0)));
  const seconds = now < newest ? newest + 1 : now;
  for (let attempt = 0; ; attempt++) {
    const path = join(folder, `events.out.tfevents.${String(seconds).padStart(10, "0")}.heddle.${attempt}`);
    if ((await explainingFaults("read", path, () => infoOf(fs, path))) === undefined) {
      return await createAppendFile(fs, path);
    }
  }
}
