import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { pack } from "tar-stream";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { picture, readOnce, type TarEntry, tarBytes, temporaryFolder, writeTar } from "./support.ts";

const png = await picture({ r: 9, g: 9, b: 9 });
const sample = (key: string, caption = `text of ${key}`): TarEntry[] => [
  [`${key}.png`, png],
  [`${key}.txt`, caption],
];

/** What users get of one shard, names without its folder. */
async function read(entries: readonly TarEntry[]) {
  const shard = await writeTar(join(temporaryFolder(), "0.tar"), entries);
  const { samples, skipped } = await readOnce([shard], "pairs");
  return {
    samples: samples.map(({ group, texts }) => [group.slice(shard.length), ...texts]),
    skipped: skipped.map(({ count, example, reason }) => [count, example.slice(shard.length), reason]),
  };
}

describe("a shard", () => {
  it("has samples of the entries of one key, with captions of text or JSON", async () => {
    const { samples, skipped } = await read([
      ["deep", "", "directory"],
      ...sample("deep/000", "one\ntwo"),
      ["001.jpg", await picture({ r: 1, g: 1, b: 1 }, { format: "jpeg" })],
      ["001.json", '{"caption": "from json", "width": 8}'],
      ["002.json", '{"captions": ["a", "", "b"]}'],
      ["002.webp", await picture({ r: 1, g: 1, b: 1 }, { format: "webp" })],
      ["002.txt.bak", "ignored"],
    ]);
    expect(skipped).toEqual([]);
    expect(samples).toEqual([
      ["/deep/000", "one", "two"],
      ["/001", "from json"],
      ["/002", "a", "b"],
    ]);
  });

  it("loses broken samples alone, counted and named", async () => {
    const { samples, skipped } = await read([
      ["a.png", png],
      ["b.txt", "no picture"],
      ["c.png", png],
      ["c.json", "{"],
      ["d.png", png],
      ["d.json", '{"caption": 7}'],
      ["e.png", png],
      ["e.png", png],
      ["e.txt", "twice"],
      ["g.png", png],
      ["g.txt", Buffer.from([0xff, 0xfe])],
      ["h.png", png.subarray(0, 40)],
      ["h.txt", "half a picture"],
      ["i.png", png],
      ["i.txt", Buffer.from([0xff])],
      ...sample("good"),
    ]);
    expect(samples).toEqual([["/good", "text of good"]]);
    expect(skipped).toEqual([
      [1, "/a", "it has no caption (.txt or .json) next to it in the shard"],
      [1, "/b", "it has no image (.jpg, .jpeg, .png, .webp)"],
      [1, "/c", expect.stringMatching(/^it is not valid JSON: /)],
      [1, "/d", 'its .json has no "…"'],
      [1, "/e", "it has two .png entries"],
      [2, "/g", '"…" is not UTF-8 text'],
      [1, "/h", expect.stringMatching(/^image "…" cannot be read: /)],
    ]);
  });

  it("has no sample larger than the memory that one may take", async () => {
    const shard = join(temporaryFolder(), "0.tar");
    const large = 65 * 2 ** 20;
    const [head, tail] = [await tarBytes([["a.png", Buffer.alloc(0)]]), await tarBytes(sample("b"))];
    const header = Buffer.from(head.subarray(0, 512));
    header.write(large.toString(8).padStart(11, "0"), 124, "latin1");
    header.fill(" ", 148, 156); // the checksum counts itself as spaces
    header.write(
      `${header
        .reduce((sum, byte) => sum + byte)
        .toString(8)
        .padStart(6, "0")}\0 `,
      148,
      "latin1",
    );
    const file = await open(shard, "w");
    await file.write(header, 0, 512, 0);
    await file.write(tail, 0, tail.length, 512 + large); // between them a hole, which takes no room on the disk
    await file.close();
    const { samples, skipped } = await readOnce([shard], "pairs");
    expect(samples.map(({ text }) => text)).toEqual(["text of b"]);
    expect(skipped).toEqual([{ count: 1, example: `${shard}/a`, reason: "it is larger than # bytes" }]);
  });

  it("has no names that leave the folder, and no links", async () => {
    const { samples, skipped } = await read([
      ["../up.png", png],
      ["/abs.png", png],
      ["a/../../b.png", png],
      ["C:\\windows.png", png],
      ["link.png", "", "symlink"],
      ...sample("fine"),
      ["._fine.txt", "metadata of macOS tar"],
    ]);
    expect(samples).toEqual([["/fine", "text of fine"]]);
    expect(skipped).toEqual([
      [4, "/../up.png", "its path points outside the shard's folder"],
      [1, "/link.png", "it is a symlink, only regular files are read"],
    ]);
  });

  it("has no sparse files, whose bytes are not their content, and no entries of other types", async () => {
    const tar = pack();
    const named = { "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "a.txt" };
    tar.entry({ name: "a.png" }, png);
    tar.entry({ name: "a.txt", pax: named } as { name: string }, `${"1\n0\n4\n".padEnd(512, "\0")}real`);
    tar.entry({ name: "b.png" }, png);
    tar.entry({ name: "b.txt" }, "fine");
    tar.finalize();
    const bytes = Buffer.concat(await Array.fromAsync(tar as AsyncIterable<Buffer>));
    const last = bytes.lastIndexOf("b.png");
    bytes[last + 156] = "Z".charCodeAt(0);
    bytes.fill(" ", last + 148, last + 156);
    const sum = bytes.subarray(last, last + 512).reduce((n, byte) => n + byte, 0);
    bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, last + 148);
    const shard = join(temporaryFolder(), "0.tar");
    await writeFile(shard, bytes);
    const { samples, skipped } = await readOnce([shard], "pairs");
    expect(samples).toEqual([]);
    expect(skipped.map(({ reason }) => reason)).toEqual([
      "it is a sparse file, only regular files are read",
      "it is an entry of unknown type, only regular files are read",
      "it has no caption (.txt or .json) next to it in the shard",
      "it has no image (.jpg, .jpeg, .png, .webp)",
    ]);
  });

  it("may have headers of Unix V7, which say less than later ones", async () => {
    const bytes = await tarBytes([...sample("a"), ...sample("b/c")]);
    for (let at = 0; at < bytes.length; at += 512) {
      const header = bytes.subarray(at, at + 512);
      if (!header.subarray(257).toString("latin1").startsWith("ustar")) continue;
      header.fill(0, 257); // neither "ustar", owner's name, device nor prefix
      header[156] = 0; // a file's type
      header.fill(" ", 148, 156);
      const sum = header.reduce((n, byte) => n + byte, 0);
      header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
    }
    const shard = join(temporaryFolder(), "0.tar");
    await writeFile(shard, bytes);
    const { samples, skipped } = await readOnce([shard], "pairs");
    expect(samples.map(({ text }) => text)).toEqual(["text of a", "text of b/c"]);
    expect(skipped).toEqual([]);
  });

  it("that is broken loses only what follows its fault", async () => {
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
    const { samples, skipped } = await readOnce([folder], "pairs");
    expect(samples.map(({ group }) => group.slice(folder.length))).toEqual(["/0.tar/a", "/4.tar/d"]);
    expect(skipped.map(({ example }) => example.slice(folder.length)).sort()).toEqual(["/0.tar", "/1.tar", "/3.tar"]);
    expect(skipped.reduce((n, { count }) => n + count, 0)).toBe(4);
    for (const { reason } of skipped) expect(reason).toMatch(/damaged|empty/);
  });

  it("survives any damage", async () => {
    const folder = temporaryFolder();
    const whole = await tarBytes([...sample("a"), ...sample("b")]);
    const damage = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(damage, fc.nat(whole.length), async (changes, length) => {
        const bytes = Buffer.from(whole);
        for (const [at, value] of changes) bytes[at] = value;
        const shard = join(folder, "0.tar");
        await writeFile(shard, bytes.subarray(0, length));
        const read = await readOnce([shard], "pairs").catch((error: unknown) => error);
        if (read instanceof FileError) expect(read.message).toContain("has no samples");
        else expect((read as Awaited<ReturnType<typeof readOnce>>).samples.length).toBeLessThanOrEqual(4);
        if (length < 512) expect(read).toBeInstanceOf(FileError);
      }),
      { numRuns: 60 },
    );
  });
});
