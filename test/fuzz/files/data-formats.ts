/**
 * Samples in shards, lists and folders, read as runs read them; a broken sample is skipped and reported, nothing else.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { pack } from "tar-stream";
import { openData, type SampleBatch, type SampleKind, type SampleOf } from "../../../data/index.ts";
import arrays from "../../fixtures/npy-arrays.json" with { type: "json" };
import type { Format } from "./format.ts";

const image = { size: 4, fit: "squash" } as const;
const options = { batch: 2, seed: 1, workers: 0 };

const colours = ["red", "green", "blue"] as const;
const pictures = await Promise.all(
  colours.map((background) =>
    sharp({ create: { width: 8, height: 8, channels: 3, background } })
      .png()
      .toBuffer(),
  ),
);
const annotation = await sharp({ create: { width: 8, height: 8, channels: 3, background: { r: 7, g: 7, b: 7 } } })
  .toColourspace("b-w")
  .png()
  .toBuffer();
const turns = [
  { from: "human", value: "<image>\nWhat is it?" },
  { from: "gpt", value: "A cat." },
];
const keys = ["a", "b", "c"] as const;

/** What is wrong with a sample that was not reported as broken. */
const faults: { readonly [K in SampleKind]: (sample: SampleOf<K>, folder: string) => string | undefined } = {
  pairs: ({ image, text, texts, language }, folder) =>
    outside(image, folder) ??
    (texts.includes(text) && texts.every(isText) && language !== "" ? undefined : `its texts are ${texts}`),
  conversations: ({ image, turns, id }, folder) =>
    (image === undefined ? undefined : outside(image, folder)) ??
    (turns.length > 0 && turns.every(({ text }) => text.isWellFormed()) && typeof id === "string"
      ? undefined
      : `its turns are ${JSON.stringify(turns)}`),
  labels: ({ image, label }, folder) =>
    outside(image, folder) ?? (Number.isSafeInteger(label) && label >= 0 ? undefined : `its label is ${label}`),
  records: ({ image, fields }, folder) =>
    (image === undefined ? undefined : outside(image, folder)) ??
    (typeof fields === "object" && fields !== null ? undefined : `its fields are ${fields}`),
  texts: ({ text }) => (text.isWellFormed() ? undefined : `its text is ${text}`),
  masks: ({ image, mask }, folder) =>
    outside(image, folder) ??
    (mask.length === 16 && mask.every((one) => one >= 0 && one <= 255) ? undefined : `its mask is ${mask}`),
};

const isText = (text: string) => text.trim() !== "" && text.isWellFormed();
const outside = (path: string, folder: string) =>
  resolve(path).startsWith(`${resolve(folder)}/`) ? undefined : `its picture ${path} is outside the folder`;

/** Reads all samples once; at least `least` of them must be read or reported as broken. */
async function readSamples<K extends SampleKind>(spec: string, kind: K, folder: string, least: number): Promise<void> {
  const data = await openData([spec], kind, { ...options, ...(kind !== "texts" && { image }) });
  try {
    let count = 0;
    for await (const { samples, pixels } of data.once(() => {})) {
      count += samples.length;
      if (!(pixels?.data ?? []).every(Number.isFinite)) throw new Error("its pixels are no numbers");
      for (const sample of samples) {
        const fault = faults[kind](sample, folder);
        if (fault !== undefined) throw new Error(fault);
      }
    }
    const told = [...data.skipped().values()].reduce((sum, skipped) => sum + skipped.count, 0);
    if (told === 0 && count < least) throw new Error(`of ${least} samples ${count} are read, and nothing is said`);
  } finally {
    await data.dispose();
  }
}

type Entries = (key: string, i: number) => Readonly<Record<string, string | Uint8Array>>;

const shard = (kind: SampleKind, entries: Entries): Format => ({
  name: `tar-${kind}`,
  write: async (folder) => {
    const tar = pack();
    for (const [i, key] of keys.entries())
      for (const [ending, content] of Object.entries(entries(key, i)))
        tar.entry({ name: `${key}${ending}` }, Buffer.from(content as Uint8Array));
    tar.finalize();
    writeFileSync(join(folder, "0.tar"), Buffer.concat(await Array.fromAsync(tar as AsyncIterable<Buffer>)));
    return ["0.tar"];
  },
  read: (folder) => readSamples(join(folder, "0.tar"), kind, folder, keys.length),
});

const list = (kind: SampleKind, ending: "json" | "jsonl", record: (key: string, i: number) => object): Format => ({
  name: `${kind}-${ending}`,
  write: async (folder) => {
    for (const [i, key] of keys.entries()) writeFileSync(join(folder, `${key}.png`), pictures[i]!);
    const records = keys.map(record);
    const text =
      ending === "json" ? JSON.stringify(records, null, 1) : records.map((r) => `${JSON.stringify(r)}\n`).join("");
    writeFileSync(join(folder, `list.${ending}`), text);
    return [`list.${ending}`];
  },
  read: async (folder) => {
    const path = join(folder, `list.${ending}`);
    const filled = readFileSync(path, "latin1")
      .split("\n")
      .filter((line) => /[^\0- ]/.test(line));
    await readSamples(path, kind, folder, ending === "jsonl" ? filled.length : 0);
  },
});

const captionRecord = (key: string) => ({ image: `${key}.png`, caption: `a ${key}`, width: 3 });
const conversationRecord = (key: string) => ({ id: key, image: `${key}.png`, conversations: turns });

const folders: Format = {
  name: "folders",
  write: async (folder) => {
    for (const part of ["pairs", "labels/cat", "labels/dog", "masks/images", "masks/annotations"])
      mkdirSync(join(folder, part), { recursive: true });
    for (const [i, key] of keys.entries()) {
      for (const part of ["pairs", "labels/cat", "masks/images"])
        writeFileSync(join(folder, part, `${key}.png`), pictures[i]!);
      writeFileSync(join(folder, "pairs", `${key}.txt`), `a ${key}\nanother ${key}\n`);
      writeFileSync(join(folder, "masks/annotations", `${key}.png`), annotation);
    }
    writeFileSync(join(folder, "labels/dog/d.png"), pictures[0]!);
    return ["pairs/b.txt", "pairs/b.png", "labels/cat/a.png", "masks/images/c.png", "masks/annotations/a.png"];
  },
  read: (folder, file) => {
    const kind = file.split("/")[0] as "pairs" | "labels" | "masks";
    return readSamples(join(folder, kind), kind, folder, keys.length);
  },
};

/** Batches of a folder's list, from a cursor on. */
async function takeBatches(folder: string, cursor: unknown, count: number) {
  const data = await openData([join(folder, "list.jsonl")], "pairs", { ...options, image });
  try {
    const taken: SampleBatch<"pairs">[] = [];
    for await (const batch of data.batches(cursor, () => {})) if (taken.push(batch) === count) break;
    return taken;
  } finally {
    await data.dispose();
  }
}

/** Where the cursor's data lies: for a copy elsewhere, the cursor would belong to other data. */
let dataOfCursor = "";

/** The data cursor in a checkpoint. */
const cursor: Format = {
  name: "cursor",
  write: async (folder) => {
    const records = Array.from({ length: 8 }, (_, i) => ({ ...captionRecord(keys[i % 3]!), caption: `text ${i}` }));
    for (const [i, key] of keys.entries()) writeFileSync(join(folder, `${key}.png`), pictures[i]!);
    writeFileSync(join(folder, "list.jsonl"), records.map((r) => JSON.stringify(r)).join("\n"));
    const batches = await takeBatches(folder, undefined, 3);
    writeFileSync(join(folder, "cursor.json"), JSON.stringify(batches[2]!.cursor));
    dataOfCursor = folder;
    return ["cursor.json"];
  },
  read: async (folder) => {
    const text = readFileSync(join(folder, "cursor.json"), "utf8");
    const [batch] = await takeBatches(dataOfCursor, parsed(text), 1);
    if (batch!.samples.length !== 2) throw new Error("a batch is not full");
  },
};

/** Null where the text is no JSON: undefined would mean the start. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
}

const depth = Buffer.from(arrays[0]!.file, "base64");
const conversation = (key: string) => ({ id: key, conversations: turns });

export const dataFormats: readonly Format[] = [
  shard("pairs", (key, i) => ({ ".png": pictures[i]!, ".txt": `a ${key}`, ".json": '{"language":"en","score":3}' })),
  shard("conversations", (key, i) => ({ ".png": pictures[i]!, ".json": JSON.stringify(conversation(key)) })),
  shard("labels", (_, i) => ({ ".png": pictures[i]!, ...(i === 0 ? { ".cls": "3\n" } : { ".json": '{"cls": 0}' }) })),
  shard("masks", (_, i) => ({ ".png": pictures[i]!, ".seg.png": annotation })),
  shard(
    "texts",
    (key, i): Record<string, string> =>
      i === 0 ? { ".txt": `text ${key}` } : { ".json": JSON.stringify({ text: key }) },
  ),
  shard("records", (_, i) => ({ ".png": pictures[i]!, ".json": `{"x": ${i}}`, ".depth.npy": depth })),
  list("records", "jsonl", (key, i) => ({ image: `${key}.png`, x: [i, 2], label: null })),
  list("texts", "jsonl", (key) => ({ text: `text ${key}` })),
  list("pairs", "jsonl", captionRecord),
  list("pairs", "json", captionRecord),
  list("conversations", "jsonl", conversationRecord),
  list("conversations", "json", conversationRecord),
  folders,
  cursor,
];
