import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readShard } from "../../data/index.ts";
import { collect, picture, skips, type TarEntry, tarBytes, temporaryFolder, writeTar } from "./support.ts";

const png = await picture({ r: 9, g: 9, b: 9 });
const sample = (key: string, caption = `text of ${key}`): TarEntry[] => [
  [`${key}.png`, png],
  [`${key}.txt`, caption],
];

async function read(entries: readonly TarEntry[]) {
  const shard = await writeTar(join(temporaryFolder(), "0.tar"), entries);
  const { list, onSkip } = skips();
  const items = await collect(readShard(shard, { onSkip, maxSampleBytes: 10_000 }));
  return {
    items,
    keys: items.map(({ group }) => group),
    skipped: list.map(({ name, reason }) => [name.slice(shard.length), reason]),
  };
}

describe("readShard", () => {
  it("groups entries by key and reads captions from text or JSON", async () => {
    const { items, skipped } = await read([
      ["deep", "", "directory"],
      ...sample("deep/000", "one\ntwo"),
      ["001.jpg", await picture({ r: 1, g: 1, b: 1 }, { format: "jpeg" })],
      ["001.json", '{"caption": "from json", "width": 8}'],
      ["002.json", '{"captions": ["a", "", "b"]}'],
      ["002.webp", await picture({ r: 1, g: 1, b: 1 }, { format: "webp" })],
      ["002.txt.bak", "ignored"],
    ]);
    expect(skipped).toEqual([]);
    expect(items.map(({ group, texts }) => [group, texts.und])).toEqual([
      ["deep/000", ["one", "two"]],
      ["001", ["from json"]],
      ["002", ["a", "b"]],
    ]);
    expect((items[0]!.images[0] as { bytes: Uint8Array }).bytes).toEqual(png);
  });

  it("skips, counts and names broken samples", async () => {
    const { keys, skipped } = await read([
      ["a.png", png],
      ["b.txt", "no picture"],
      ["c.png", png],
      ["c.json", "{"],
      ["d.png", png],
      ["d.json", '{"caption": 7}'],
      ["e.png", png],
      ["e.png", png],
      ["e.txt", "twice"],
      ["f.png", Buffer.alloc(20_000)],
      ["f.txt", "too large"],
      ["g.png", png],
      ["g.txt", Buffer.from([0xff, 0xfe])],
      ...sample("good"),
    ]);
    expect(keys).toEqual(["good"]);
    expect(skipped.map(([name]) => name)).toEqual(["/a", "/b", "/c", "/d", "/e", "/f", "/g"]);
    const reasons = skipped.map(([, reason]) => reason).join("\n");
    for (const part of ["no caption", "no picture", "malformed", '"caption"', "two .png", "larger", "not UTF-8"]) {
      expect(reasons).toContain(part);
    }
  });

  it("refuses names that leave the folder, and links", async () => {
    const { keys, skipped } = await read([
      ["../up.png", png],
      ["/abs.png", png],
      ["a/../../b.png", png],
      ["C:\\windows.png", png],
      ["link.png", "", "symlink"],
      ...sample("fine"),
      ["._fine.txt", "metadata of macOS tar"],
    ]);
    expect(keys).toEqual(["fine"]);
    expect(skipped.map(([, reason]) => reason)).toEqual([
      ...Array(4).fill("its name leaves the shard's folder"),
      "it is a symlink, only plain files are read",
    ]);
  });

  it("loses only what follows the fault of a broken shard", async () => {
    const folder = temporaryFolder();
    const whole = await tarBytes([...sample("a"), ...sample("b"), ...sample("c")]);
    const second = whole.indexOf("b.png");
    const corrupt = Buffer.from(whole);
    corrupt.fill(0x7f, second + 100, second + 200);
    await writeFile(join(folder, "0.tar"), whole.subarray(0, second + 700)); // inside b.png
    await writeFile(join(folder, "1.tar"), corrupt);
    await writeFile(join(folder, "2.tar"), "this is no tar file".repeat(100));
    await writeFile(join(folder, "3.tar"), "");
    await writeTar(join(folder, "4.tar"), sample("d"));
    const { list, onSkip } = skips();
    const shards = [0, 1, 2, 3, 4].map((i) => join(folder, `${i}.tar`));
    const items = (await Promise.all(shards.map((shard) => collect(readShard(shard, { onSkip }))))).flat();
    expect(items.map(({ group }) => group).sort()).toEqual(["a", "d"]);
    expect(list.map(({ name }) => name.slice(-5)).sort()).toEqual(["0.tar", "1.tar", "2.tar", "3.tar"]);
    for (const { reason } of list) expect(reason).toMatch(/broken|empty/);
  });

  it("survives any damage", async () => {
    const folder = temporaryFolder();
    const whole = await tarBytes([...sample("a"), ...sample("b")]);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(whole.length), async (changes, length) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        await writeFile(join(folder, "0.tar"), bytes.subarray(0, length));
        const { list, onSkip } = skips();
        const items = await collect(readShard(join(folder, "0.tar"), { onSkip, maxSampleBytes: 10_000 }));
        expect(items.length).toBeLessThanOrEqual(4);
        if (length < 512) expect(list.length).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it("stops reading when the consumer stops", async () => {
    const shard = await writeTar(
      join(temporaryFolder(), "0.tar"),
      Array.from({ length: 50 }, (_, i) => sample(`${i}`)).flat(),
    );
    const { list, onSkip } = skips();
    expect((await collect(readShard(shard, { onSkip }), 3)).length).toBe(3);
    expect(list).toEqual([]);
  });
});
