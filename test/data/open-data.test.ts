import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { type OpenDataOptions, openData, type SampleBatch, type SampleKind } from "../../data/index.ts";
import { collect, picture, type TarEntry, temporaryFolder, writeTar } from "./support.ts";

const image = { size: 4, fit: "squash" } as const;
const png = (n: number) => picture({ r: n % 256, g: 7 * (n % 30), b: 40 }, { width: 9, height: 6 });

/** Shards of pictures with two captions each; `broken` keys have a caption that is no UTF-8. */
async function shards(folder: string, count: number, samples: number, broken: readonly string[] = []) {
  for (let shard = 0; shard < count; shard += 1) {
    const entries: TarEntry[] = [];
    for (let i = 0; i < samples; i += 1) {
      const key = `${shard}-${i}`;
      entries.push([`${key}.png`, await png(shard * samples + i)]);
      entries.push([`${key}.txt`, broken.includes(key) ? Buffer.from([0xff]) : `caption ${key}\nother ${key}`]);
    }
    await writeTar(join(folder, `${String(shard).padStart(3, "0")}.tar`), entries);
  }
}

const take = async <K extends SampleKind>(
  specs: readonly string[],
  kind: K,
  count: number,
  options: Partial<OpenDataOptions<K>> = {},
  cursor?: unknown,
) => {
  const data = await openData(specs, kind, { batch: 3, seed: 5, image, workers: 0, ...options });
  try {
    return {
      batches: await collect<SampleBatch<K>>(
        data.batches(cursor, () => {}),
        count,
      ),
      data,
    };
  } finally {
    await data.dispose();
  }
};

describe("openData", () => {
  it("gives every sample of shards once an epoch, pixels beside their samples", async () => {
    const folder = temporaryFolder();
    await shards(folder, 5, 6);
    const { batches, data } = await take([join(folder, "{000..004}.tar")], "pairs", 10);
    expect(data.report).toEqual([
      `${join(folder, "{000..004}.tar")}: 5 shards, weight 1, number of samples unknown until all have been read`,
    ]);
    const groups = batches.flatMap(({ samples }) => samples.map(({ group }) => group));
    expect(new Set(groups).size).toBe(30);
    expect(batches[0]!.pixels.axes.map(({ size }) => size)).toEqual([3, 3, 4, 4]);
    for (const { samples, pixels } of batches) {
      for (const [row, sample] of samples.entries()) {
        const [, shard, i] = /(\d)-(\d)/.exec(sample.text)!.map(Number);
        expect(sample.texts).toEqual([`caption ${shard}-${i}`, `other ${shard}-${i}`]);
        const red = ((shard! * 6 + i!) / 255 - 0.485) / 0.229;
        expect(pixels.data[row * 48]).toBeCloseTo(red, 5);
      }
    }
  });

  it("goes on after any batch as if it had never stopped, whatever waits", async () => {
    const folder = temporaryFolder();
    await shards(folder, 6, 4, ["2-1", "4-0"]);
    const list = join(folder, "pairs.jsonl"); // four captions of each of four pictures: rows wait for others
    for (let i = 0; i < 4; i += 1) await writeFile(join(folder, `${i}.png`), await png(i));
    await writeFile(
      list,
      Array.from({ length: 16 }, (_, i) => JSON.stringify({ image: `${i % 4}.png`, caption: `c${i}` })).join("\n"),
    );
    const specs = [join(folder, "*.tar"), `4*${list}`];
    const options = {
      buffer: 5,
      image: { ...image, augmentation: { scale: [0.2, 1] as const, flip: 0.5, recolour: 0.5 } },
    };
    const { batches: whole } = await take(specs, "pairs", 24, options);
    for (const stop of [0, 1, 5, 11, 17]) {
      const cursor: unknown = JSON.parse(JSON.stringify(whole[stop]!.cursor));
      const { batches: rest } = await take(specs, "pairs", 4, options, cursor);
      expect(rest).toEqual(whole.slice(stop + 1, stop + 5));
    }
    for (const { samples } of whole) expect(new Set(samples.map(({ group }) => group)).size).toBe(3);
    expect(whole.some(({ cursor }) => cursor.waiting.length > 0)).toBe(true);
  });

  it("draws sources by weight", async () => {
    const folder = temporaryFolder();
    for (const name of ["a", "b"]) {
      await mkdir(join(folder, name));
      for (let i = 0; i < 8; i += 1) {
        await writeFile(join(folder, name, `${i}.png`), await png(i));
        await writeFile(join(folder, name, `${i}.txt`), name);
      }
    }
    const { batches } = await take([`3*${folder}/a`, `${folder}/b`], "pairs", 100);
    const texts = batches.flatMap(({ samples }) => samples.map(({ text }) => text));
    expect(texts.filter((text) => text === "a").length / texts.length).toBeCloseTo(0.75, 1);
  });

  it("skips broken samples, counted by reason with one name, and others stand in", async () => {
    const folder = temporaryFolder();
    await shards(folder, 3, 4, ["0-1", "1-2"]);
    await writeTar(join(folder, "003.tar"), [
      ["x.png", Buffer.from("no picture")],
      ["x.txt", "broken"],
    ]);
    const notes: string[] = [];
    const data = await openData([folder], "pairs", { batch: 5, seed: 1, image, workers: 0 });
    const batches = await collect(
      data.batches(undefined, (text) => notes.push(text)),
      6,
    );
    expect(batches.every(({ samples }) => samples.length === 5)).toBe(true);
    const skipped = [...data.skipped()];
    expect(skipped.map(([, { count }]) => count).sort()).toEqual([1, 2]);
    expect(skipped.map(([, { example }]) => example).join()).toMatch(/003\.tar\/x/);
    expect(notes.filter((note) => note.startsWith("skipped"))).toHaveLength(2);
    expect(notes).toContain(`epoch 2 of ${folder} begins: it has 13 samples`);
    await data.dispose();
  });

  it("says how many samples there are where that is known, and what is wrong with data that has none", async () => {
    const folder = temporaryFolder();
    await shards(folder, 5, 2);
    const data = await openData([folder, `2*${folder}/000.tar`], "pairs", { batch: 2, seed: 1, image, workers: 0 });
    expect(data.sources.map(({ weight, count }) => [weight, count])).toEqual([
      [1, undefined],
      [2, 2],
    ]);
    expect(data.report[1]).toBe(`2*${folder}/000.tar: 1 shard, weight 2, 2 samples`);
    await data.dispose();
    await writeFile(join(folder, "cut.tar"), "no tar file at all".repeat(60));
    await expect(take([join(folder, "cut.tar")], "pairs", 1)).rejects.toThrow(
      /cut\.tar has no samples\n {2}.*cut\.tar: the shard is damaged, the rest of it is skipped: /,
    );
    await writeFile(join(folder, "none.json"), "[]");
    await expect(take([folder, join(folder, "none.json")], "pairs", 1)).rejects.toThrow("none.json has no samples");
  });

  it("reads classes, annotations and conversations", async () => {
    const folder = temporaryFolder();
    for (const name of ["cat", "dog"]) {
      await mkdir(join(folder, "classes", name), { recursive: true });
      for (let i = 0; i < 2; i += 1) await writeFile(join(folder, "classes", name, `${i}.png`), await png(i));
    }
    const labels = await take([join(folder, "classes")], "labels", 2, { batch: 2 });
    expect(labels.data.classes).toEqual(["cat", "dog"]);
    const seen = labels.batches.flatMap(({ samples }) => samples.map(({ label, name }) => `${label} ${name}`)).sort();
    expect(seen).toEqual(["0 cat", "0 cat", "1 dog", "1 dog"]);

    await writeFile(
      join(folder, "chat.json"),
      JSON.stringify([
        { id: 7, image: "classes/cat/0.png", conversations: [{ from: "human", value: "?" }] },
        { id: 8, conversations: [{ from: "human", value: "no picture" }] },
      ]),
    );
    const chat = await take([join(folder, "chat.json")], "conversations", 1, { batch: 2 });
    const samples = chat.batches[0]!.samples;
    expect(samples.map(({ id }) => id).sort()).toEqual(["7", "8"]);
    const without = samples.findIndex(({ id }) => id === "8");
    expect(chat.batches[0]!.pixels.data.slice(without * 48, (without + 1) * 48).every((x) => x === 0)).toBe(true);
  });

  it("reads classes and annotations of shards, and refuses numbers beside names", async () => {
    const folder = temporaryFolder();
    const grey = (value: number) =>
      sharp({ create: { width: 9, height: 6, channels: 3, background: { r: value, g: value, b: value } } })
        .toColourspace("b-w")
        .png()
        .toBuffer();
    const notes: string[] = [];
    await writeTar(join(folder, "labels.tar"), [
      ["a.png", await png(1)],
      ["a.cls", "3\n"],
      ["b.png", await png(2)],
      ["b.json", '{"cls": 0}'],
      ...(
        await Promise.all(
          ["-1", "1.5", "", "cat"].map(
            async (cls, i): Promise<TarEntry[]> => [
              [`x${i}.png`, await png(3)],
              [`x${i}.cls`, cls],
            ],
          ),
        )
      ).flat(),
    ]);
    const labels = await openData([join(folder, "labels.tar")], "labels", { batch: 2, seed: 1, image, workers: 0 });
    const [seen] = await collect(labels.once((text) => notes.push(text)));
    expect(seen!.samples.map(({ label, name }) => [label, name])).toEqual([
      [3, "3"],
      [0, "0"],
    ]);
    expect([...labels.skipped()].map(([reason, { count }]) => [reason, count])).toEqual([
      ['it has no class: expected a non-negative integer in .cls, or as "…" in its .json', 4],
    ]);
    await labels.dispose();

    await writeTar(join(folder, "masks.tar"), [
      ["a.png", await png(1)],
      ["a.seg.png", await grey(7)],
      ["b.png", await png(2)],
      ["b.mask.png", await grey(9)],
      ["c.png", await png(3)],
    ]);
    const masks = await openData([join(folder, "masks.tar")], "masks", { batch: 2, seed: 1, image, workers: 0 });
    const [both] = await collect(masks.once(() => {}));
    expect(both!.samples.map(({ mask }) => [...new Set(mask)])).toEqual([[7], [9]]);
    expect([...masks.skipped().keys()]).toEqual(["it has no mask (.mask.png, .seg.png)"]);
    await masks.dispose();

    await mkdir(join(folder, "named/cat"), { recursive: true });
    await writeFile(join(folder, "named/cat/0.png"), await png(1));
    const specs = ["named", "labels.tar"].map((name) => join(folder, name));
    await expect(take(specs, "labels", 1)).rejects.toThrow("has class names, but");
  });

  it("sorts conversations into batches of about one length, and goes on after any of them", async () => {
    const folder = temporaryFolder();
    await writeFile(join(folder, "a.png"), await png(1));
    await writeFile(join(folder, "broken.png"), "");
    const words = (i: number) => "word ".repeat(1 + ((i * 37) % 101)).trim();
    const lines = Array.from({ length: 70 }, (_, i) => ({
      id: i,
      ...(i % 3 === 0 ? { image: i === 33 ? "broken.png" : "a.png" } : {}),
      conversations: [{ from: "human", value: words(i) }],
    }));
    await writeFile(join(folder, "chat.jsonl"), lines.map((line) => JSON.stringify(line)).join("\n"));
    const wordsOf = ({ turns }: { readonly turns: readonly { readonly text: string }[] }) =>
      turns[0]!.text.split(" ").length;
    const options = { batch: 4, workers: 0, wordsOf };
    const specs = [join(folder, "chat.jsonl")];
    const { batches: whole, data } = await take(specs, "conversations", 40, options);
    const spreads = whole.map(({ samples }) => {
      const lengths = samples.map(wordsOf);
      return Math.max(...lengths) - Math.min(...lengths);
    });
    expect(spreads.reduce((a, b) => a + b) / spreads.length).toBeLessThan(15); // 60 without sorting
    expect([...data.skipped().values()].map(({ example }) => example)).toEqual([`${specs[0]}[33]`]);
    for (const stop of [0, 7, 15, 16, 30]) {
      const cursor: unknown = JSON.parse(JSON.stringify(whole[stop]!.cursor));
      const { batches: rest } = await take(specs, "conversations", 3, options, cursor);
      expect(rest).toEqual(whole.slice(stop + 1, stop + 4));
    }
  });

  it("refuses a cursor of other data, another seed, or none at all", async () => {
    const folder = temporaryFolder();
    await shards(folder, 1, 3);
    const [spec, other] = [join(folder, "000.tar"), folder];
    const { batches } = await take([spec], "pairs", 1);
    const cursor = batches[0]!.cursor;
    await expect(take([other], "pairs", 1, {}, cursor)).rejects.toThrow(
      /was saved while training on .*000\.tar, not on/,
    );
    await expect(take([spec], "pairs", 1, { seed: 6 }, cursor)).rejects.toThrow(/seed 5, not 6/);
    for (const wrong of [
      null,
      7,
      {},
      { ...cursor, specs: [[spec]] },
      { ...cursor, seed: [5] },
      { ...cursor, places: [{ epoch: -1, window: 0, at: 0 }] },
    ]) {
      await expect(take([spec], "pairs", 1, {}, wrong)).rejects.toThrow(/does not say where the data continues/);
    }
  });

  it("ends with an error where no sample can be used, or groups are too few", async () => {
    const folder = temporaryFolder();
    await shards(folder, 1, 3, ["0-0", "0-1", "0-2"]);
    await expect(take([folder], "pairs", 1)).rejects.toThrow(/has no usable samples/);
    const few = temporaryFolder();
    await shards(few, 1, 2);
    await expect(take([few], "pairs", 1)).rejects.toThrow(/needs 3 different groups, but the data has 2/);
  });

  it("says of every spec that is not there what is wrong", async () => {
    const folder = temporaryFolder();
    await writeFile(join(folder, "a.txt"), "");
    const open = openData([`${folder}/{000..009}.tar`, `${folder}/*.tar`, `${folder}/a.txt`, `0*${folder}`], "pairs", {
      batch: 1,
      seed: 0,
      image,
    });
    const message = await open.then(String, (error: Error) => error.message.replaceAll(folder, "F"));
    expect(message).toMatchInlineSnapshot(`
      "some data cannot be used:
        F/{000..009}.tar matches no file: F/000.tar does not exist
        F/*.tar matches no file
        F/a.txt: pairs cannot be read from texts (.txt), only from WebDataset shards (.tar) and lists (.json, .jsonl) and folders
        "0*F" has weight 0: a weight must be above 0 and at most 1000000000000"
    `);
  });
});
