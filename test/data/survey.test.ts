import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { encodedBytes } from "../../data/images.ts";
import { holdings, openData, type SampleKind, survey, writeShards } from "../../data/index.ts";
import { collect, picture, temporaryFolder } from "./support.ts";

/** Pictures with captions of many kinds, two of them broken. */
async function captioned(): Promise<string> {
  const folder = temporaryFolder();
  const captions = [
    "A brown dog on a beach",
    "一只狗在草地上奔跑\nsecond line",
    "IMG_2034",
    "犬が走る",
    "собака бежит",
  ];
  for (const [i, caption] of captions.entries()) {
    const bytes = await picture({ r: i, g: 2, b: 3 }, { width: 10 + i, height: 20, format: i % 2 ? "jpeg" : "png" });
    await writeFile(join(folder, `${i}.${i % 2 ? "jpeg" : "png"}`), bytes);
    await writeFile(join(folder, `${i}.txt`), caption);
  }
  await writeFile(join(folder, "5.jpg"), "no picture");
  await writeFile(join(folder, "5.txt"), "caption");
  await writeFile(join(folder, "6.png"), await picture({ r: 1, g: 1, b: 1 }));
  return folder;
}

const counts = (found: ReadonlyMap<string, { readonly count: number; readonly example: string }>, folder: string) =>
  [...found].map(([reason, { count, example }]) => `${count} ${reason} ${example.replace(folder, "")}`);

async function pass(specs: readonly string[], kind: SampleKind, filters: readonly string[] = []) {
  const found = await survey(specs, kind, { filters, decode: true });
  return { found, kept: await collect(found.kept()) };
}

describe("survey", () => {
  it("counts what there is, and what is broken by reason", async () => {
    const folder = await captioned();
    const { found, kept } = await pass([folder], "pairs");
    const held = holdings();
    for (const raw of kept) await held.add(raw);
    expect(held.found()).toEqual({
      samples: 5,
      pictures: 5,
      side: { least: 10, median: 12, most: 14 },
      formats: { png: 3, jpg: 2 },
      texts: 6,
      words: { least: 1, median: 2, most: 6 },
      languages: { Latin: 3, Cyrillic: 1, Han: 1, Japanese: 1 },
      classes: 0,
    });
    expect(counts(found.broken(), folder)).toHaveLength(2);
    expect(counts(found.broken(), folder).join()).toMatch(
      /1 image "…" cannot be read.* \/5\.jpg,1 it has no caption file "…" \/6\.png/,
    );
  });

  it("counts what each filter drops, with one of them", async () => {
    const folder = await captioned();
    const { found, kept } = await pass([folder], "pairs", ["no=placeholder", "caption.words>=4", "image.width>11"]);
    expect(kept.map(({ name }) => name.replace(folder, ""))).toEqual([]);
    expect(counts(found.dropped(), folder)).toEqual([
      "2 image.width>11 /0.png",
      "1 no=placeholder /2.png",
      "2 caption.words>=4 /3.jpeg",
    ]);
  });

  it("ends when it is asked to", async () => {
    const folder = await captioned();
    const controller = new AbortController();
    const found = await survey([folder], "pairs", { decode: false, signal: controller.signal });
    const kept = found.kept();
    await kept.next();
    controller.abort();
    await expect(collect(kept)).rejects.toThrow(/aborted/);
  });
});

describe("writeShards", () => {
  it("writes what heddle and tar read back, in shards no larger than asked", async () => {
    const folder = await captioned();
    const out = join(temporaryFolder(), "shards");
    const { kept } = await pass([folder], "pairs");
    const written = await writeShards(kept as never, out, 10 * 1024);
    const shards = readdirSync(out);
    expect(shards).toEqual(["000000.tar", "000001.tar"]);
    const sizes = shards.map((name) => readFileSync(join(out, name)).length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(10 * 1024);
    expect(written).toEqual({ shards: shards.length, samples: 5, bytes: sizes.reduce((a, b) => a + b) });
    const { kept: again, found } = await pass([out], "pairs");
    expect(counts(found.broken(), out)).toEqual([]);
    expect(again.map(({ texts }) => texts)).toEqual(kept.map(({ texts }) => texts));
    expect(again.map(({ fields }) => fields.source)).toEqual(kept.map(({ name }) => name));
    const bytes = (samples: typeof kept) =>
      Promise.all(samples.map(async (s) => Buffer.from(await encodedBytes(s.image!))));
    expect(await bytes(again)).toEqual(await bytes(kept));
    const listed = shards.map((name) => execFileSync("tar", ["-tf", join(out, name)], { encoding: "utf8" })).join("");
    expect(listed.trim().split("\n").slice(0, 6)).toEqual([
      "000000000.png",
      "000000000.txt",
      "000000000.json",
      "000000001.jpg",
      "000000001.txt",
      "000000001.json",
    ]);
  });

  it("writes a caption of several lines as one, in linear time", async () => {
    const blank = " ".repeat(500_000); // in quadratic time this would take minutes
    const texts = { en: [`a${blank}b \r\n \n c\td`, "one line"] };
    const image = { name: "a.png", bytes: await picture({ r: 1, g: 2, b: 3 }) };
    const out = join(temporaryFolder(), "shards");
    await writeShards([{ name: "a", group: "a", image, texts, fields: {} }] as never, out, 1e9);
    const { kept } = await pass([out], "pairs");
    const [long, short] = Object.values(kept[0]!.texts!)[0]!;
    expect([long === `a${blank}b c\td`, short]).toEqual([true, "one line"]);
  });

  it("writes conversations, and trains on them", async () => {
    const folder = temporaryFolder();
    await writeFile(join(folder, "a.png"), await picture({ r: 1, g: 2, b: 3 }));
    const said = [
      { from: "human", value: "<image>\nwhat?" },
      { from: "gpt", value: "a\ncar" },
    ];
    await writeFile(
      join(folder, "chat.json"),
      JSON.stringify([{ id: "x", image: "a.png", conversations: said, extra: 3 }]),
    );
    const { kept } = await pass([join(folder, "chat.json")], "conversations");
    const out = join(folder, "out");
    await writeShards(kept as never, out, 1e9);
    const image = { size: 4, fit: "pad" } as const;
    const data = await openData([out], "conversations", { batch: 1, seed: 1, image, workers: 0 });
    const [batch] = await collect(
      data.batches(undefined, () => {}),
      1,
    );
    await data.dispose();
    expect(batch!.samples[0]).toMatchObject({
      id: "000000000",
      turns: [
        { role: "user", text: "<image>\nwhat?" },
        { role: "assistant", text: "a\ncar" },
      ],
    });
  });

  it("leaves nothing behind where it fails, and touches no folder that is there", async () => {
    const folder = await captioned();
    const parent = temporaryFolder();
    const out = join(parent, "out");
    async function* failing() {
      yield* (await pass([folder], "pairs")).kept.slice(0, 2);
      throw new Error("stopped");
    }
    await expect(writeShards(failing(), out, 1e9)).rejects.toThrow("stopped");
    await expect(writeShards([] as never, out, 1e9)).rejects.toThrow(/no sample is left/);
    expect(readdirSync(parent)).toEqual([]);
    await mkdir(out);
    await expect(writeShards([] as never, out, 1e9)).rejects.toThrow(/already exists/);
    // A link to nothing, before the samples are read: a folder cannot take its name.
    const link = join(dirname(out), "link");
    await symlink("nowhere", link);
    await expect(writeShards(failing(), link, 1e9)).rejects.toThrow(/already exists/);
    await writeFile(join(dirname(out), "file"), "");
    const inFile = writeShards([] as never, join(dirname(out), "file", "x"), 1e9);
    await expect(inFile).rejects.toThrow(/shards cannot be written to .*: part of the path is not a folder/);
    expect(existsSync(out)).toBe(true);
  });
});
