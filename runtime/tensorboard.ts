/** Scalars as TensorBoard event files. */
import { fileSystem, join } from "#host";
import { type AppendFile, createAppendFile, reopenAppendFile } from "./append-file.ts";
import { type EventContent, event, fileVersion, frame, sessionStart, summary, wholeFrames } from "./event-encoding.ts";
import { explainingFaults } from "./file-errors.ts";
import type { FileSystem } from "./file-system.ts";
import { infoOf, readWhole } from "./files.ts";

export interface EventLogOptions {
  /**
   * Steps that the resumed run has done: TensorBoard then hides what earlier files say of later steps. What a killed
   * process left torn at their ends is cut off.
   */
  readonly resumeAt?: number;
  readonly fs?: FileSystem;
  /** Milliseconds since 1970. Default: the clock. */
  readonly now?: () => number;
}

/** Writes one event file. */
export interface EventLog {
  readonly path: string;
  /** Adds values (f32) by tag, such as "train/loss", at a step. */
  scalars(step: number, values: Readonly<Record<string, number>>): Promise<void>;
  flush(): Promise<void>;
  dispose(): Promise<void>;
}

/** Starts a new event file in a folder, which is made when it is not there; TensorBoard reads all files of a folder. */
export async function openEventLog(folder: string, options: EventLogOptions = {}): Promise<EventLog> {
  const fs = options.fs ?? fileSystem;
  const now = options.now ?? Date.now;
  await explainingFaults("create", folder, () => fs.mkdir(folder));
  if (options.resumeAt !== undefined) await cutTornEnds(fs, folder);
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

async function cutTornEnds(fs: FileSystem, folder: string): Promise<void> {
  for (const name of (await fs.readdir(folder)).filter((n) => /tfevents\.\d+\.heddle\.\d+$/.test(n))) {
    const path = join(folder, name);
    const bytes = await explainingFaults("read", path, () => readWhole(fs, path, largestEvents));
    const end = wholeFrames(bytes);
    if (end < bytes.length) await (await reopenAppendFile(fs, path, end)).dispose();
  }
}

/** Bytes of an event file at most: millions of steps. */
const largestEvents = 2 ** 31 - 1;

/** TensorBoard takes any file with "tfevents" in its name, and orders a run's files by name. */
async function createEventFile(fs: FileSystem, folder: string, seconds: number): Promise<AppendFile> {
  for (let attempt = 0; ; attempt++) {
    const path = join(folder, `events.out.tfevents.${String(seconds).padStart(10, "0")}.heddle.${attempt}`);
    if ((await explainingFaults("read", path, () => infoOf(fs, path))) === undefined) {
      return await createAppendFile(fs, path);
    }
  }
}
