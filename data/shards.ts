/** WebDataset shards: tar files in which the entries of one sample share a key and follow each other. */
import { createReadStream } from "node:fs";
import { posix } from "node:path";
import { extract } from "tar-stream";
import { type OnSkip, staysInside } from "./files.ts";

export type TarEntry = ReturnType<typeof extract> extends AsyncIterable<infer Entry> ? Entry : never;

/** The entries of a tar file; a reading error reaches the loop as an exception. */
export async function* entriesOf(shard: string): AsyncGenerator<TarEntry, void, undefined> {
  const file = createReadStream(shard);
  const tar = extract();
  file.on("error", (error) => tar.destroy(error));
  file.pipe(tar as unknown as NodeJS.WritableStream);
  try {
    yield* tar;
  } finally {
    file.destroy();
    tar.destroy();
  }
}

export interface Place {
  readonly key: string;
  readonly extension: string;
}

/** WebDataset's naming: the key is the path up to the first dot of the file name. Only files count; bad names are refused. */
export function placeOf({ header: { name, type } }: TarEntry, shard: string, onSkip: OnSkip): Place | undefined {
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

export async function drain(entry: TarEntry): Promise<void> {
  for await (const _ of entry);
}
