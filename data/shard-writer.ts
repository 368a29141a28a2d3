/** Writes WebDataset shards: 000000.tar and so on, a picture, a text and a json of one key for each sample. */
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { pack } from "tar-stream";
import { FileError, UsageError } from "../compiler/index.ts";
import { reasonOf } from "./files.ts";
import { imageName } from "./images.ts";
import type { Turn } from "./instructions.ts";
import type { RawSample } from "./samples.ts";
import { pictureExtension } from "./survey.ts";

export interface ShardsWritten {
  readonly shards: number;
  readonly samples: number;
  readonly bytes: number;
}

/**
 * Writes samples into shards of at most `maxBytes` each (a larger sample has a shard of its own), in the folder `out`,
 * which must not be there yet: it appears whole, or not at all. Pictures are copied as they are. The same samples give the
 * same bytes.
 */
export async function writeShards(
  samples: AsyncIterable<RawSample>,
  out: string,
  maxBytes: number,
): Promise<ShardsWritten> {
  if (existsSync(out)) throw new UsageError(`"${out}" is there already: name a folder that is not, or remove it`);
  const staging = `${out.replace(/\/+$/, "")}.unfinished-${process.pid}`;
  try {
    await mkdir(staging, { recursive: true });
    const written = await writeInto(staging, samples, maxBytes);
    if (existsSync(out)) throw new UsageError(`"${out}" appeared meanwhile: name a folder that is not there`);
    await rename(staging, out);
    return written;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    if ((error as { code?: string }).code === undefined) throw error;
    throw new FileError(`shards cannot be written to "${out}": ${reasonOf(error)}`, { cause: error });
  }
}

async function writeInto(folder: string, samples: AsyncIterable<RawSample>, maxBytes: number): Promise<ShardsWritten> {
  let shard: OpenShard | undefined;
  let [shards, count, bytes] = [0, 0, 0];
  try {
    for await (const raw of samples) {
      const files = await filesOf(raw);
      const size = files.reduce((sum, [, content]) => sum + entryBytes(content.length), 0);
      if (shard && shard.bytes + size > maxBytes) {
        await shard.close();
        shard = undefined;
      }
      shard ??= openShard(join(folder, `${String(shards++).padStart(6, "0")}.tar`));
      const key = String(count++).padStart(9, "0");
      for (const [extension, content] of files) await shard.add(`${key}.${extension}`, content);
      bytes += size;
    }
    await shard?.close();
  } catch (error) {
    shard?.abandon();
    throw error;
  }
  return { shards, samples: count, bytes };
}

/** A header, and contents in blocks of 512 bytes. */
const entryBytes = (length: number) => 512 + 512 * Math.ceil(length / 512);

interface OpenShard {
  readonly bytes: number;
  readonly add: (name: string, content: Uint8Array) => Promise<void>;
  readonly close: () => Promise<void>;
  readonly abandon: () => void;
}

function openShard(path: string): OpenShard {
  const tar = pack();
  const file = createWriteStream(path, { flush: true });
  const ended = finished(file);
  ended.catch(() => {}); // awaited in close, or met in add
  file.on("error", (error) => tar.destroy(error));
  tar.pipe(file as unknown as Parameters<typeof tar.pipe>[0]);
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    add: (name, content) =>
      new Promise((resolve, reject) => {
        bytes += entryBytes(content.length);
        const done = (error?: Error | null) => (error ? reject(error) : resolve());
        const header = { name, size: content.length, mode: 0o644, mtime: new Date(0) };
        tar.entry(header, Buffer.from(content.buffer, content.byteOffset, content.length), done);
      }),
    close: async () => {
      tar.finalize();
      await ended;
    },
    abandon: () => {
      tar.destroy();
      file.destroy();
    },
  };
}

const encoder = new TextEncoder();

/** The files of a sample by extension: picture, captions a line each, and what is known besides. */
async function filesOf(raw: RawSample): Promise<readonly (readonly [string, Uint8Array])[]> {
  const [language, texts] = Object.entries(raw.texts ?? {})[0] ?? [];
  const lines = texts?.map((text) => text.replace(/\s*[\r\n]+\s*/g, " "));
  const said = {
    ...raw.fields,
    ...(raw.id === undefined ? {} : { id: raw.id }),
    ...(lines ? { caption: lines[0] } : {}),
    ...(language === undefined || language === "und" ? {} : { language }),
    ...(raw.turns ? { conversations: raw.turns.map(written) } : {}),
    source: raw.name,
  };
  return [
    ...(raw.image === undefined ? [] : [[pictureExtension(raw.image), await bytesOf(raw)] as const]),
    ...(lines ? [["txt", encoder.encode(`${lines.join("\n")}\n`)] as const] : []),
    ["json", encoder.encode(JSON.stringify(said))] as const,
  ];
}

const names = { system: "system", user: "human", assistant: "gpt" } as const;
const written = ({ role, text }: Turn) => ({ from: names[role], value: text });

async function bytesOf({ image }: RawSample): Promise<Uint8Array> {
  if (typeof image !== "string") return image!.bytes;
  return await readFile(image).catch((cause: unknown) => {
    throw new FileError(`image "${imageName(image)}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
}
