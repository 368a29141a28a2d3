/** Writes WebDataset shards: 000000.tar and so on, with an image, a text and a JSON of the same key for each sample. */
import { existsSync, lstatSync } from "node:fs";
import { type FileHandle, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pack } from "tar-stream";
import { FileError, UsageError } from "../compiler/index.ts";
import { reasonOf } from "./files.ts";
import { encodedBytes, type ImageSource, imageName } from "./images.ts";
import type { Turn } from "./instructions.ts";
import { isArray } from "./npy.ts";
import type { RawSample } from "./samples.ts";
import { pictureExtension } from "./survey.ts";

export interface ShardsWritten {
  readonly shards: number;
  readonly samples: number;
  readonly bytes: number;
}

/**
 * Writes samples into shards of at most `maxBytes` each (a larger sample gets a shard of its own), in the folder `out`,
 * which must not exist yet and is created atomically. Images are copied unchanged. The same samples give the same
 * bytes.
 */
export async function writeShards(
  samples: AsyncIterable<RawSample>,
  out: string,
  maxBytes: number,
): Promise<ShardsWritten> {
  if (isTaken(out)) throw new UsageError(`"${out}" already exists: name a new folder, or remove it`);
  const staging = `${out.replace(/\/+$/, "")}.unfinished-${process.pid}`;
  try {
    // Not recursive if the parent exists: Node's own recursive mkdir never returns for a folder that cannot be created
    // by anyone, as in /proc.
    if (!existsSync(dirname(staging))) await mkdir(dirname(staging), { recursive: true });
    await mkdir(staging);
    const written = await writeInto(staging, samples, maxBytes);
    if (existsSync(out)) throw new UsageError(`"${out}" was created in the meantime: name a new folder`);
    await rename(staging, out);
    return written;
  } catch (error) {
    await rm(staging, { recursive: true, force: true }).catch(() => {}); // the first error is the one to report
    if ((error as { code?: string }).code === undefined) throw error;
    throw new FileError(`shards cannot be written to "${out}": ${reasonOf(error)}`, { cause: error });
  }
}

/** Whether a folder cannot take a name: links count too, wherever they lead. */
function isTaken(path: string): boolean {
  try {
    return lstatSync(path) !== undefined;
  } catch {
    return false; // what else is wrong with the path shows when the folder is made
  }
}

async function writeInto(folder: string, samples: AsyncIterable<RawSample>, maxBytes: number): Promise<ShardsWritten> {
  let shard: { readonly file: FileHandle; bytes: number } | undefined;
  let [shards, count, bytes] = [0, 0, 0];
  const close = async () => {
    await shard?.file.writeFile(endOfTar); // unlike write, all of it or an error
    await shard?.file.sync();
    await shard?.file.close();
    shard = undefined;
  };
  try {
    for await (const raw of samples) {
      const entries = await entriesOf(raw, String(count++).padStart(9, "0"));
      if (shard && shard.bytes + entries.length > maxBytes) await close();
      if (!shard) {
        const file = await open(join(folder, `${String(shards++).padStart(6, "0")}.tar`), "wx");
        shard = { file, bytes: endOfTar.length };
        bytes += endOfTar.length;
      }
      await shard.file.writeFile(entries);
      shard.bytes += entries.length;
      bytes += entries.length;
    }
    await close();
  } finally {
    await shard?.file.close();
  }
  if (count === 0) throw new FileError("no sample is left to write: heddle data filter says why each was dropped");
  return { shards, samples: count, bytes };
}

/** Two blocks of zeros. */
const endOfTar = new Uint8Array(1024);

/** The tar entries of one sample. */
async function entriesOf(raw: RawSample, key: string): Promise<Uint8Array> {
  const tar = pack();
  for (const [extension, content] of await filesOf(raw)) {
    const header = { name: `${key}.${extension}`, size: content.length, mode: 0o644, mtime: new Date(0) };
    tar.entry(header, Buffer.from(content.buffer, content.byteOffset, content.length));
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks).subarray(0, -endOfTar.length);
}

const encoder = new TextEncoder();

/** A text as one line: what is blank around a line break becomes a space. */
const onOneLine = (text: string): string => text.replace(/\s+/g, (blank) => (/[\r\n]/.test(blank) ? " " : blank));

/** The files of a sample by extension: image, captions one per line, and JSON. */
async function filesOf(raw: RawSample): Promise<readonly (readonly [string, Uint8Array])[]> {
  const [language, texts] = Object.entries(raw.texts ?? {})[0] ?? [];
  const lines = texts?.map(onOneLine);
  const said = {
    ...raw.fields,
    ...(raw.id === undefined ? {} : { id: raw.id }),
    ...(lines ? { caption: lines[0] } : {}),
    ...(language === undefined || language === "und" ? {} : { language }),
    ...(raw.turns ? { conversations: raw.turns.map(written) } : {}),
    source: raw.name,
    ...raw.values, // fields are inputs, whatever their names
  };
  const arrays = Object.entries(said).flatMap(([name, value]) => (isArray(value) ? [[name, value.file] as const] : []));
  const rest = Object.fromEntries(Object.entries(said).filter(([, value]) => !isArray(value)));
  return [
    ...(raw.image === undefined ? [] : [[pictureExtension(raw.image), await bytesOf(raw.image)] as const]),
    ...(raw.mask === undefined ? [] : [["seg.png", await bytesOf(raw.mask)] as const]),
    ...(raw.label === undefined ? [] : [["cls", encoder.encode(String(raw.label))] as const]),
    ...(lines ? [["txt", encoder.encode(`${lines.join("\n")}\n`)] as const] : []),
    ...arrays.map(([name, file]) => [`${fileName(name)}.npy`, file] as const),
    ["json", encoder.encode(JSON.stringify(rest))] as const,
  ];
}

/** The name of a field as part of a file name. */
function fileName(field: string): string {
  if (/^[\w-]+(\.[\w-]+)*$/.test(field)) return field;
  throw new FileError(`the array "${field}" cannot be written: its name must be of letters, digits, "_", "-" and "."`);
}

const names = { system: "system", user: "human", assistant: "gpt" } as const;
const written = ({ role, text }: Turn) => ({ from: names[role], value: text });

async function bytesOf(image: ImageSource): Promise<Uint8Array> {
  return await encodedBytes(image).catch((cause: unknown) => {
    throw new FileError(`image "${imageName(image)}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
}
