/** A file that grows by whole records: what log writers share. */
import { explainingFaults } from "./file-errors.ts";
import type { FileSystem, OpenFile } from "./file-system.ts";

/**
 * An open file that records are appended to, in the order of the calls. A record that could not be written whole is
 * overwritten by the next one, so that at most the last record of a file is ever torn.
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

  /** Resolves when the system has the record; throws FileError when it does not take it. */
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
    this.#last = result.catch(() => {}); // the caller has the error; later records are tried anew
    return result;
  }
}

/** Creates a file that must not exist yet. */
export async function createAppendFile(fs: FileSystem, path: string): Promise<AppendFile> {
  return await explainingFaults("create", path, async () => new AppendFile(path, await fs.open(path, "wx"), 0));
}

/** Opens a file to append after its first `end` bytes; what stood after them is cut off. */
export async function reopenAppendFile(fs: FileSystem, path: string, end: number): Promise<AppendFile> {
  return await explainingFaults("write", path, async () => {
    const file = await fs.open(path, "r+");
    await file.truncate(end);
    return new AppendFile(path, file, end);
  });
}
