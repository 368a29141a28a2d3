/** Ranges of files, read where they are wanted. */
import { type FileHandle, open } from "node:fs/promises";
import { FileError } from "../compiler/index.ts";

export interface Extent {
  readonly offset: number;
  readonly size: number;
}

/** Memory of its own, not a piece of Node's pool: it is handed to another thread. */
export async function readExtent(file: FileHandle, { offset, size }: Extent): Promise<Uint8Array> {
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
