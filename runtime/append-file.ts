/** An append-only file of whole records, shared by the log writers. */
import { explainingFaults } from "./file-errors.ts";
import type { FileSystem, OpenFile } from "./file-system.ts";

/**
 * An open append-only file. Records are written in the order of the calls. A record that was only partly written is
 * overwritten by the next one, so at most the last record of a file is ever torn.
 */
export class AppendFile {
  readonly path: string;
  readonly #file: OpenFile;
  #end: number;
  #last: Promise<void> = Promise.resolve();

  constructor(path: string, file: OpenFile, end: number) {
    this.path = path;
    this.#file = file;
    this.#end = end;
  }

  /** Resolves once the operating system has accepted the record; throws FileError when the write fails. */
  append(record: Uint8Array): Promise<void> {
    return this.#next(async () => {
      for (let done = 0; done < record.length; ) {
        const { bytesWritten } = await this.#file.write(record, done, record.length - done, this.#end + done);
        done += bytesWritten;
      }
      this.#end += record.length;
    });
  }

  /** Resolves when all records are on the disk. */
  flush(): Promise<void> {
    return this.#next(() => this.#file.sync());
  }

  async dispose(): Promise<void> {
    await this.flush().finally(() => this.#file.close());
  }

  #next(work: () => Promise<void>): Promise<void> {
    const result = this.#last.then(() => explainingFaults("write", this.path, work));
    this.#last = result.catch(() => {}); // the caller gets the error; later records are still attempted
    return result;
  }
}

/** Creates a file that must not exist yet. */
export async function createAppendFile(fs: FileSystem, path: string): Promise<AppendFile> {
  return await explainingFaults("create", path, async () => new AppendFile(path, await fs.open(path, "wx"), 0));
}

/** Opens a file for appending after its first `end` bytes; anything beyond them is truncated. */
export async function reopenAppendFile(fs: FileSystem, path: string, end: number): Promise<AppendFile> {
  return await explainingFaults("write", path, async () => {
    const file = await fs.open(path, "r+");
    await file.truncate(end);
    return new AppendFile(path, file, end);
  });
}
