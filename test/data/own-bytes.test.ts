/** Of a shard that processes share each reads the headers, the texts, and the pictures of its own rows. */
import { AsyncLocalStorage } from "node:async_hooks";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { pack } from "tar-stream";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { openData, type SharedReading } from "../../data/index.ts";
import { entriesOf } from "../../data/shards.ts";
import { seeded } from "../support/samples.ts";

/** Bytes that each process read, by its number; 0 is who reads alone. */
const { reader, read } = vi.hoisted(() => ({
  reader: { of: (): number => 0 },
  read: new Map<number, number>(),
}));
vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const open: typeof real.open = async (...args) => {
    const file = await real.open(...args);
    const readOf = file.read.bind(file) as (...args: unknown[]) => Promise<{ bytesRead: number }>;
    return Object.assign(file, {
      read: async (...args: unknown[]) => {
        const found = await readOf(...args);
        read.set(reader.of(), (read.get(reader.of()) ?? 0) + found.bytesRead);
        return found;
      },
    });
  };
  return { ...real, open, default: { ...real, open } };
});

const root = mkdtempSync(join(tmpdir(), "heddle-own-bytes-"));
const shard = join(root, "000.tar");
const samples = 96;
let pictures = 0;
afterAll(() => rmSync(root, { recursive: true }));
beforeAll(async () => {
  const tar = pack();
  const next = seeded(3);
  for (let i = 0; i < samples; i++) {
    const noise = Uint8Array.from({ length: 3 * 32 * 32 }, () => 256 * next());
    const picture = await sharp(noise, { raw: { width: 32, height: 32, channels: 3 } })
      .png()
      .toBuffer();
    pictures += picture.length;
    const name = i % 5 === 4 ? `${"long".repeat(40)}/${i}` : `s${i}`; // which a header of its own says
    tar.entry({ name: `${name}.png` }, picture);
    tar.entry({ name: `${name}.txt` }, `picture ${i}`);
    tar.entry({ name: `${name}.npy` }, Buffer.alloc(40_000)); // what nobody asks for
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  writeFileSync(shard, Buffer.concat(chunks));
});

const process = new AsyncLocalStorage<number>();
reader.of = () => process.getStore() ?? 0;

const batch = 8;
async function epoch(shared?: SharedReading) {
  const options = { batch, seed: 3, image: { size: 4, fit: "squash" as const }, workers: 0 };
  const opened = await openData([shard], "pairs", options);
  const batches = [];
  for await (const one of opened.batches(undefined, () => {}, shared)) {
    batches.push(one);
    if (batches.length === samples / batch) break;
  }
  await opened.dispose();
  return batches.flatMap((b) => b.samples.map((s) => s.text));
}

it("headers are found without reading what lies between them", async () => {
  read.clear();
  const entries = [];
  for await (const entry of entriesOf(shard)) entries.push(entry);
  expect(entries.length).toBe(3 * samples);
  expect(entries.find(({ name }) => name.endsWith("/4.png"))?.name.length).toBeGreaterThan(160);
  expect(read.get(0)).toBeLessThan(0.25 * statSync(shard).size);
});

it("each of two processes reads the pictures of its rows, and both draw what one does", async () => {
  read.clear();
  const alone = await epoch();
  const full = new Map<string, { readonly all: unknown[]; readonly told: PromiseWithResolvers<readonly unknown[]> }>();
  const exchangeOf = (rank: number) => {
    let calls = 0;
    return async <T>(source: number, own: T): Promise<readonly T[]> => {
      const key = `${source}/${calls++}`;
      const open = full.get(key) ?? { all: [], told: Promise.withResolvers<readonly unknown[]>() };
      full.set(key, open);
      open.all[rank] = own;
      if (Object.keys(open.all).length === 2) open.told.resolve(open.all);
      return (await open.told.promise) as T[];
    };
  };
  const ownerOf = (_: number, row: number) => Math.floor((2 * row) / batch);
  const both = await Promise.all(
    [0, 1].map((rank) =>
      process.run(rank + 1, () => epoch({ among: { rank, size: 2, exchange: exchangeOf(rank) }, ownerOf })),
    ),
  );
  expect(both).toEqual([alone, alone]);
  const own = [read.get(1)!, read.get(2)!];
  const whole = read.get(0)!;
  read.clear();
  for await (const _ of entriesOf(shard));
  const scan = read.get(0)!;
  // Up to three batches of the next epoch are read ahead: a quarter of one.
  expect(whole).toBeGreaterThan(scan + pictures);
  for (const bytes of own) expect(bytes).toBeLessThan(scan + 0.75 * pictures);
});

it("a shard that ends anywhere gives the entries before that, and one error", async () => {
  const whole = readFileSync(shard);
  const cut = join(root, "cut.bin");
  for (const length of [100, 512, 700, 3000, whole.length - 1700]) {
    writeFileSync(cut, whole.subarray(0, length));
    const entries: string[] = [];
    const reading = async () => {
      for await (const { name } of entriesOf(cut)) entries.push(name);
    };
    await expect(reading(), String(length)).rejects.toThrow("Unexpected end of data");
    if (length < 1000) expect(entries).toEqual([]);
    if (length > 1e5) expect(entries.length).toBe(3 * samples - 1);
  }
});
