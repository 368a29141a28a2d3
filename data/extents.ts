/** Byte ranges of files, read on demand. */
import { open } from "node:fs/promises";
import { FileError } from "../compiler/index.ts";

export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** The used part of an open file. Node's types in the declarations would force programs for pages to install them. */
interface Readable {
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** Allocates a buffer of its own, not from Node's pool, since it is transferred to another thread. */
export async function readExtent(file: Readable, { offset, size }: Extent): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, size - at, offset + at);
    if (bytesRead === 0) throw new FileError("the file became shorter while it was being read");
    at += bytesRead;
  }
  return bytes;
}

/** Opens a file to read one range of it. */
export async function readFrom(path: string, extent: Extent): Promise<Uint8Array> {
  const file = await open(path);
  try {
    return await readExtent(file, extent);
  } finally {
    await file.close();
  }
}
