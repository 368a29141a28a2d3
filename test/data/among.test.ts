/** Processes that share the reading: the same batches as one process, each with the pictures of its own rows. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, expect, it } from "vitest";
import { agreedDraws } from "../../data/among.ts";
import { openData, type SharedReading } from "../../data/index.ts";
import { writePicture } from "../cli/support.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-among-"));
afterAll(() => rmSync(root, { recursive: true }));
beforeAll(async () => {
  for (let i = 0; i < 11; i++) {
    const path = join(root, `p${i}`);
    await writePicture(`${path}.png`, 20 * i, 255 - 20 * i, 7 * i);
    writeFileSync(`${path}.txt`, `picture ${i}`);
    writeFileSync(`${path}.json`, i === 5 ? "{" : `{"x": ${i}}`);
  }
  for (const i of [2, 7]) writeFileSync(join(root, `p${i}.png`), "no picture");
  mkdirSync(join(root, "more"));
  for (let i = 0; i < 5; i++) {
    if (i === 3) writeFileSync(join(root, "more", `q${i}.png`), "no picture");
    else await writePicture(join(root, "more", `q${i}.png`), 250 - 30 * i, 9 * i, 100 + i);
    writeFileSync(join(root, "more", `q${i}.txt`), `another ${i}`);
    writeFileSync(join(root, "more", `q${i}.json`), `{"x": [${i}]}`);
  }
});

/** What processes of one machine tell each other, by source and call. */
function exchanges(size: number) {
  const said = new Map<string, { readonly all: unknown[]; readonly full: PromiseWithResolvers<readonly unknown[]> }>();
  return (rank: number) => {
    const calls = new Map<number, number>();
    return async <T>(source: number, own: T): Promise<readonly T[]> => {
      const call = calls.get(source) ?? 0;
      calls.set(source, call + 1);
      const key = `${source}/${call}`;
      const open = said.get(key) ?? { all: [], full: Promise.withResolvers() };
      said.set(key, open);
      open.all[rank] = own;
      if (Object.keys(open.all).length === size) open.full.resolve(open.all);
      return (await open.full.promise) as T[];
    };
  };
}

const batch = 4;
async function read(kind: "pairs" | "records", cursor: unknown, count: number, shared?: SharedReading) {
  const options = { batch, seed: 3, image: { size: 4, fit: "squash" as const }, workers: 0 };
  const opened = await openData([root, `2*${join(root, "more")}`], kind, options);
  const batches = [];
  for await (const one of opened.batches(cursor, () => {}, shared)) {
    batches.push(one);
    if (batches.length === count) break;
  }
  await opened.dispose();
  return { batches, skipped: [...opened.skipped()].map(([, { count }]) => count) };
}

const halves = (size: number) => {
  const exchange = exchanges(size);
  const ownerOf = (_: number, row: number) => Math.floor((row * size) / batch);
  return Array.from({ length: size }, (_, rank) => ({
    among: { rank, size, exchange: exchange(rank) },
    ownerOf,
  }));
};

it.each([
  [2, "pairs"],
  [3, "pairs"],
  [2, "records"],
] as const)("%i processes draw what one does, from the beginning and from a cursor", async (size, kind) => {
  for (const cursor of [undefined, (await read(kind, undefined, 3)).batches[2]!.cursor]) {
    const whole = await read(kind, cursor, 7);
    expect(whole.skipped.length).toBeGreaterThan(0);
    const parts = await Promise.all(halves(size).map((shared) => read(kind, cursor, 7, shared)));
    for (const [rank, { batches, skipped }] of parts.entries()) {
      expect(skipped).toEqual(whole.skipped);
      for (const [i, { pixels, samples, cursor: next }] of batches.entries()) {
        const want = whole.batches[i]!;
        expect([samples, next]).toEqual([want.samples, want.cursor]);
        for (let row = 0; row < batch; row++) {
          const each = pixels!.data.length / batch;
          const [got, all] = [pixels, want.pixels].map((t) => [...t!.data.subarray(row * each, (row + 1) * each)]);
          if (Math.floor((row * size) / batch) === rank) expect(got).toEqual(all);
        }
      }
    }
    const looked = parts.flatMap(({ batches }) =>
      batches.map(({ pixels }) => {
        const each = pixels!.data.length / batch;
        return Array.from({ length: batch }, (_, row) =>
          Number(pixels!.data.subarray(row * each, (row + 1) * each).some((x) => x !== 0)),
        ).reduce((a, b) => a + b);
      }),
    );
    // Each decodes its own rows and those whose pictures it looks at, not all.
    expect(looked.reduce((a, b) => a + b)).toBeLessThan(size * 7 * batch);
  }
});

it("a sample that one process alone cannot read is an error of that process", async () => {
  const [first, second] = halves(2).map(({ among }) => agreedDraws<{ readonly raw: string }>(among, 0, 2));
  const broken = { name: "b", reason: "it is on another disk" };
  const own = [first!(Promise.resolve({ raw: "a" }), 0), first!(Promise.resolve(broken), 1)];
  const theirs = [second!(Promise.resolve({ raw: "a" }), 0), second!(Promise.resolve({ raw: "b" }), 1)];
  expect(await Promise.all(theirs)).toEqual([{ raw: "a" }, { raw: "b" }]);
  expect(await own[0]).toEqual({ raw: "a" });
  await expect(own[1]).rejects.toThrow("b can be read by other ranks but not by rank 0: it is on another disk");
});

it("processes know how many tiles the others' pictures have", async () => {
  await writePicture(join(root, "first.png"), 9, 90, 200);
  await sharp(join(root, "first.png")).resize(40, 10, { fit: "fill" }).toFile(join(root, "wide.png"));
  const conversations = [
    { from: "human", value: "What?" },
    { from: "gpt", value: "This." },
  ];
  const pictures = ["first.png", "wide.png", undefined, "p3.png"];
  const list = pictures.map((image, id) => ({ id, ...(image && { image }), conversations }));
  writeFileSync(join(root, "talks.json"), JSON.stringify(list));
  const image = { size: 4, fit: "squash" as const, tiles: { least: 1, most: 4, thumbnail: true, room: 5 } };
  const first = async (shared?: SharedReading) => {
    const options = { batch, seed: 3, image, workers: 0 };
    const opened = await openData([join(root, "talks.json")], "conversations", options);
    for await (const { pixels, samples } of opened.batches(undefined, () => {}, shared)) {
      await opened.dispose();
      return { pixels, samples };
    }
    throw new Error("no batch");
  };
  const whole = await first();
  expect(whole.pixels.axes[0]).toEqual({ name: "batch", size: 5 * batch });
  const isShown = (tile: number) => whole.pixels!.data.subarray(tile * 48, (tile + 1) * 48).some((x) => x !== 0);
  for (const [row, { image, tiles }] of whole.samples.entries()) {
    expect(tiles).toBe(image === undefined ? undefined : 5); // 4 of either shape, and a thumbnail
    for (let tile = 0; tile < 5; tile++) expect(isShown(5 * row + tile)).toBe(tile < (tiles ?? 0));
  }
  for (const { samples } of await Promise.all(halves(2).map(first))) expect(samples).toEqual(whole.samples);
});
