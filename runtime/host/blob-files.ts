/** Files that a person dropped or selected, and blobs that a page made. */
import { UsageError } from "../../compiler/index.ts";
import type { FileSystem } from "../file-system.ts";
import { type Source, sourcesFileSystem } from "./read-only-files.ts";

const sourceOf = (blob: Blob): Source => ({
  size: blob.size,
  async read(from, into) {
    const part = new Uint8Array(await blob.slice(from, from + into.length).arrayBuffer());
    into.set(part);
    return part.length;
  },
});

/**
 * Blobs by name as a read-only file system. Contents are read on demand, so that a file of 12 GB stays on disk. For a
 * selected folder, use `File.webkitRelativePath` as the names.
 */
export function blobFileSystem(blobs: ReadonlyMap<string, Blob>): FileSystem {
  const isNamed = ([name, blob]: readonly [unknown, unknown]) => typeof name === "string" && blob instanceof Blob;
  if (!(blobs instanceof Map) || ![...blobs].every(isNamed))
    throw new UsageError("expected a Map from file names to Blobs or Files");
  return sourcesFileSystem(new Map([...blobs].map(([name, blob]) => [name, sourceOf(blob)])));
}
