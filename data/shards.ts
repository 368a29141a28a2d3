/** WebDataset shards: tar files in which the entries of one sample share a key and follow each other. */
import { open } from "node:fs/promises";
import { posix } from "node:path";
import { extract } from "tar-stream";
import { type Extent, readExtent } from "./extents.ts";
import { type OnSkip, staysInside } from "./files.ts";

/** A file of a tar, and where its bytes lie. */
export interface TarEntry extends Extent {
  readonly name: string;
  readonly type: string | null | undefined;
}

/** Bytes that are read at once where headers lie: those of small files follow each other. */
const window = 4096;
const block = 512;

/** Stands for the bytes of files, which nobody reads. */
const zeros = new Uint8Array(2 ** 16);

/**
 * The entries of a tar file, found by its headers: of what files hold no more is read than lies beside these. Throws what the
 * system does, and where the tar is broken or ends within an entry.
 */
export async function* entriesOf(shard: string): AsyncGenerator<TarEntry, void, undefined> {
  const file = await open(shard);
  const tar = extract({ highWaterMark: 1 } as object); // so that each block is looked at before the next is read
  let found: TarEntry[] = [];
  let failure: Error | undefined;
  let wake = () => {};
  tar.on("entry", ({ name, type, size = 0, ...header }, stream, next) => {
    // The package's types leave out what it has told of every entry since version 3.1.
    found.push({ name, type, size, offset: (header as unknown as { byteOffset: number }).byteOffset });
    stream.on("end", next);
    stream.on("error", () => {}); // the tar's own error tells
    stream.resume();
  });
  tar.on("error", (error) => {
    failure = error;
  });
  for (const event of ["drain", "close", "finish"]) tar.on(event, () => wake());
  /** Resolves when the parser has seen all that it was given. */
  const given = async (bytes: Uint8Array): Promise<void> => {
    if (tar.write(bytes)) return;
    await new Promise<void>((resolve) => {
      wake = resolve;
    });
    if (failure) throw failure;
  };
  try {
    const { size: end } = await file.stat();
    let held: Uint8Array = new Uint8Array(0);
    let from = 0;
    for (let at = 0; at < end; ) {
      if (at < from || at + block > from + held.length) {
        held = await readExtent(file, { offset: at, size: Math.min(window, end - at) });
        from = at;
      }
      const header = held.subarray(at - from, at - from + block);
      await given(header);
      at += header.length;
      const [entry] = found;
      found = [];
      if (!entry) continue; // the end of the tar, or what a header says of the next
      const body = entry.type === "directory" ? 0 : Math.min(Math.ceil(entry.size / block) * block, end - at);
      for (let left = body; left > 0; left -= zeros.length) await given(zeros.subarray(0, left));
      at += body;
      if (body >= entry.size || entry.type === "directory") yield entry;
    }
    (tar as unknown as NodeJS.WritableStream).end();
    if (!failure && !tar.destroyed)
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    if (failure) throw failure;
  } finally {
    tar.destroy();
    await file.close();
  }
}

export interface Place {
  readonly key: string;
  readonly extension: string;
}

/** WebDataset's naming: the key is the path up to the first dot of the file name. Only files count; bad names are refused. */
export function placeOf({ name, type }: TarEntry, shard: string, onSkip: OnSkip): Place | undefined {
  if (type === "directory" && staysInside(name)) return undefined;
  if (type !== "file" && type !== "contiguous-file") {
    onSkip({
      name: `${shard}/${name}`,
      reason: `it is a ${type ?? "entry of unknown type"}, only plain files are read`,
    });
    return undefined;
  }
  if (!staysInside(name)) {
    onSkip({ name: `${shard}/${name}`, reason: "its name leaves the shard's folder" });
    return undefined;
  }
  const { dir, base } = posix.parse(name);
  const dot = base.indexOf(".", 1); // a leading dot belongs to the name
  if (dot < 0 || base.startsWith("._")) return undefined; // no extension, or what macOS tar adds
  return { key: posix.join(dir, base.slice(0, dot)), extension: base.slice(dot).toLowerCase() };
}
