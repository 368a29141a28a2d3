/** WebDataset shards: tar files in which the entries of a sample share a key and are consecutive. */
import { type FileHandle, open } from "node:fs/promises";
import { posix } from "node:path";
import { extract } from "tar-stream";
import { type Extent, readExtent } from "./extents.ts";
import { type OnSkip, staysInside } from "./files.ts";

/** A file in a tar, and its byte range. */
export interface TarEntry extends Extent {
  readonly name: string;
  readonly type: string | null | undefined;
}

/** Bytes read at once around headers, since those of small files are close together. */
const window = 4096;
const block = 512;

/** Fed to the parser in place of file contents. */
const zeros = new Uint8Array(2 ** 16);

/**
 * The entries of a tar file, found by reading only headers and the bytes close to them. Throws system errors, and
 * errors for a tar that is malformed or truncated.
 */
export async function* entriesOf(shard: string): AsyncGenerator<TarEntry, void, undefined> {
  const file = await open(shard);
  const parser = new TarParser();
  try {
    const { size: end } = await file.stat();
    const headerAt = headerReader(file, end);
    for (let at = 0; at < end; ) {
      const header = await headerAt(at);
      at += header.length;
      const entry = await parser.parse(header);
      if (!entry) continue; // the end of the tar, or an extended header for the next entry
      const body = entry.type === "directory" ? 0 : Math.min(Math.ceil(entry.size / block) * block, end - at);
      await parser.skip(body);
      at += body;
      if (body >= entry.size || entry.type === "directory") yield entry;
    }
    await parser.end();
  } finally {
    parser.dispose();
    await file.close();
  }
}

/** Reads the block at an offset; a read also brings the bytes after it, which small files lie in. */
function headerReader(file: FileHandle, end: number): (at: number) => Promise<Uint8Array> {
  let held: Uint8Array = new Uint8Array(0);
  let from = 0;
  return async (at) => {
    if (at < from || at + block > from + held.length) {
      held = await readExtent(file, { offset: at, size: Math.min(window, end - at) });
      from = at;
    }
    return held.subarray(at - from, at - from + block);
  };
}

/** The tar package's parser, fed with one block at a time. */
class TarParser {
  readonly #tar = extract({
    highWaterMark: 1, // so that each block is parsed before the next is read
    allowUnknownFormat: true, // headers of Unix V7, without "ustar"; their checksum still tells what is no header
  } as object);
  #found: TarEntry | undefined;
  #failure: Error | undefined;
  #wake = () => {};

  constructor() {
    this.#tar.on("entry", ({ name, type, size = 0, ...header }, stream, next) => {
      // The package's types lack these fields, which it has provided since version 3.1.
      const { byteOffset, pax } = header as unknown as {
        byteOffset: number;
        pax: Readonly<Record<string, string>> | null;
      };
      this.#found ??= { name, type: isSparse(pax) ? "sparse file" : type, size, offset: byteOffset };
      stream.on("end", next);
      stream.on("error", () => {}); // the tar's own error is reported
      stream.resume();
    });
    this.#tar.on("error", (error) => {
      this.#failure = error;
    });
    for (const event of ["drain", "close", "finish"]) this.#tar.on(event, () => this.#wake());
  }

  /** Parses a header; undefined if it does not complete an entry's. */
  async parse(header: Uint8Array): Promise<TarEntry | undefined> {
    this.#found = undefined;
    await this.#write(header);
    return this.#found;
  }

  /** Passes over the body of an entry: zeros stand for its bytes. */
  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0; left -= zeros.length) await this.#write(zeros.subarray(0, left));
  }

  /** Rejects if the tar is truncated. */
  async end(): Promise<void> {
    (this.#tar as unknown as NodeJS.WritableStream).end();
    if (!this.#failure && !this.#tar.destroyed) await this.#woken();
    if (this.#failure) throw this.#failure;
  }

  dispose(): void {
    this.#tar.destroy();
  }

  /** Resolves when the parser has consumed the bytes. */
  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#tar.write(bytes)) return;
    await this.#woken();
    if (this.#failure) throw this.#failure;
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** GNU tar's sparse files: their bytes begin with a list of ranges, and zeros are left out. */
const isSparse = (pax: Readonly<Record<string, string>> | null): boolean =>
  pax !== null && Object.keys(pax).some((key) => key.startsWith("GNU.sparse."));

export interface Place {
  readonly key: string;
  /** In lower case. */
  readonly extension: string;
  /** The extension as it is written. */
  readonly written: string;
}

/**
 * WebDataset's naming: the key is the path up to the first dot of the file name. Only files count; unsafe names are
 * rejected.
 */
export function placeOf({ name, type }: TarEntry, shard: string, onSkip: OnSkip): Place | undefined {
  if (type === "directory" && staysInside(name)) return undefined;
  if (type !== "file" && type !== "contiguous-file") {
    onSkip({
      name: `${shard}/${name}`,
      reason: `it is ${type ? `a ${type}` : "an entry of unknown type"}, only regular files are read`,
    });
    return undefined;
  }
  if (!staysInside(name)) {
    onSkip({ name: `${shard}/${name}`, reason: "its path points outside the shard's folder" });
    return undefined;
  }
  const { dir, base } = posix.parse(name);
  const dot = base.indexOf(".", 1); // a leading dot belongs to the name
  if (dot < 0 || base.startsWith("._")) return undefined; // no extension, or macOS tar metadata
  const written = base.slice(dot);
  return { key: posix.join(dir, base.slice(0, dot)), extension: written.toLowerCase(), written };
}
