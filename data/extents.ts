/** Ranges of files, read where they are wanted. */
import { open } from "node:fs/promises";
import { FileError } from "../compiler/index.ts";

export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** An open file, as far as it is read here: declarations that name types of Node would ask programs for pages to have them. */
interface Readable {
  read(into: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
}

/** Memory of its own, not a piece of Node's pool: it is handed to another thread. */
export async function readExtent(file: Readable, { offset, size }: Extent): Promise<Uint8Array> {
  const bytes = new Uint8Array(size);
  for (let at = 0; at < size; ) {
    const { bytesRead } = await file.read(bytes, at, size - at, offset + at);
    if (bytesRead === 0) throw new FileError("the file became shorter while it was read");
    at += bytesRead;
  }
  return bytes;
}

/** Opens a file for one range of it. */
export async function readFrom(path: string, extent: Extent): Promise<Uint8Array> {
  const file = await open(path);
  try {
    return await readExtent(file, extent);
  } finally {
    await file.close();
  }
}
