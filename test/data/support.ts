/** Small files for the tests of the data room. */
import { mkdtempSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { pack } from "tar-stream";
import { onTestFinished } from "vitest";
import { type OnSkip, openData, type SampleKind, type SampleOf, type Skipped } from "../../data/index.ts";

/** A folder of this test's own, removed after it. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "heddle-data-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A picture of one colour. */
export function picture(
  colour: { readonly r: number; readonly g: number; readonly b: number; readonly alpha?: number },
  { width = 8, height = 8, format = "png" as "png" | "jpeg" | "webp" } = {},
): Promise<Buffer> {
  const channels = colour.alpha === undefined ? 3 : 4;
  const image = sharp({ create: { width, height, channels, background: colour } });
  return (format === "jpeg" ? image.jpeg({ quality: 100, chromaSubsampling: "4:4:4" }) : image[format]()).toBuffer();
}

/** A skip handler with the list it fills. */
export function skips(): { readonly list: Skipped[]; readonly onSkip: OnSkip } {
  const list: Skipped[] = [];
  return { list, onSkip: (skipped) => list.push(skipped) };
}

export type TarEntry = readonly [name: string, content: string | Buffer, type?: "symlink" | "directory"];

/** The bytes of a tar file. */
export async function tarBytes(entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const [name, content, type] of entries) {
    if (type) tar.entry({ name, type, linkname: "/etc/passwd" });
    else tar.entry({ name }, content);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Writes a tar file and answers with its path. */
export async function writeTar(path: string, entries: readonly TarEntry[]): Promise<string> {
  await writeFile(path, await tarBytes(entries));
  return path;
}

/** What one pass over data gives: its samples in order, and what was skipped by reason, each with one name. */
export async function readOnce<K extends SampleKind>(
  specs: readonly string[],
  kind: K,
): Promise<{ samples: SampleOf<K>[]; skipped: { reason: string; count: number; example: string }[] }> {
  const data = await openData(specs, kind, { batch: 4, seed: 1, image: { size: 2, fit: "squash" }, workers: 0 });
  try {
    const batches = await collect(data.once(() => {}));
    const skipped = [...data.skipped()].map(([reason, found]) => ({ reason, ...found }));
    return { samples: batches.flatMap(({ samples }) => samples), skipped };
  } finally {
    await data.dispose();
  }
}

/** All of an async iterable, at most `limit`. */
export async function collect<T>(source: AsyncIterable<T>, limit = Infinity): Promise<T[]> {
  const all: T[] = [];
  for await (const value of source) {
    all.push(value);
    if (all.length >= limit) break;
  }
  return all;
}
