/**
 * Data as nobody should have it: each oddity is a sample that is skipped and named, or one error before anything runs.
 */
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { asSystemFault, inOneLine, isInvisible } from "../../data/files.ts";
import { decodeImage, openData, type SampleKind } from "../../data/index.ts";
import { collect, picture, temporaryFolder, writeTar } from "./support.ts";

const image = { size: 4, fit: "squash" as const };
const colour = { r: 9, g: 9, b: 9 };

/** What three batches of two hold, with what was told. */
async function read(spec: string, kind: SampleKind = "pairs") {
  const notes: string[] = [];
  const data = await openData([spec], kind, { batch: 2, seed: 3, image, workers: 0 });
  try {
    const batches = await collect(
      data.batches(undefined, (text) => notes.push(text)),
      6,
    );
    const names = batches.flatMap(({ samples }) => samples.map((sample) => JSON.stringify(sample)));
    const skipped = [...data.skipped()].map(([reason, { count }]) => `${count}: ${reason}`);
    return { all: names.join("\n"), notes, skipped };
  } finally {
    await data.dispose();
  }
}

async function captions(folder: string, texts: Readonly<Record<string, string | Buffer>>): Promise<void> {
  for (const [name, text] of Object.entries(texts)) {
    await writeFile(join(folder, `${name}.png`), await picture(colour));
    await writeFile(join(folder, `${name}.txt`), text);
  }
}

const mask = () =>
  sharp({ create: { width: 8, height: 8, channels: 3, background: { r: 1, g: 1, b: 1 } } })
    .toColourspace("b-w")
    .png()
    .toBuffer();

describe("a folder", () => {
  it("has captions whose accents are composed otherwise, or whose ending is in capitals", async () => {
    const folder = temporaryFolder();
    await captions(folder, { a: "a" });
    await writeFile(join(folder, "caf\u00e9.png"), await picture(colour));
    await writeFile(join(folder, "cafe\u0301.txt"), "accent");
    await writeFile(join(folder, "up.png"), await picture(colour));
    await writeFile(join(folder, "up.TXT"), "capitals");
    const { all, skipped } = await read(folder);
    for (const text of ["accent", "capitals"]) expect(all).toContain(`"text":"${text}"`);
    expect(skipped).toEqual([]);
  });

  it("has images of formats that are not read, and images beside the folders of classes", async () => {
    const folder = temporaryFolder();
    await captions(folder, { a: "a", b: "b" });
    for (const name of ["c.gif", "c.txt", "d.TIFF", "notes.md"]) await writeFile(join(folder, name), "x");
    const formats = "2: an image must be one of .jpg, .jpeg, .png, .webp: convert it";
    expect((await read(folder)).skipped).toEqual([formats]);
    const classes = temporaryFolder();
    for (const name of ["cat", "dog"]) await mkdir(join(classes, name));
    for (const name of ["cat/a.png", "dog/a.png", "stray.png"])
      await writeFile(join(classes, name), await picture(colour));
    for (const name of ["cat/b.gif", "dog/b.bmp"]) await writeFile(join(classes, name), "x");
    expect((await read(classes, "labels")).skipped.sort()).toEqual([
      "1: it lies beside the folders of classes, in none of them",
      formats,
    ]);
    const masks = temporaryFolder();
    for (const name of ["images", "annotations"]) await mkdir(join(masks, name));
    for (const name of ["a", "b"]) {
      await writeFile(join(masks, "images", `${name}.png`), await picture(colour));
      await writeFile(join(masks, "annotations", `${name}.png`), await mask());
    }
    for (const name of ["c.gif", "d.bmp"]) await writeFile(join(masks, "images", name), "x");
    expect((await read(masks, "masks")).skipped).toEqual([formats]);
  });

  it("has samples without a caption that anybody sees", async () => {
    const folder = temporaryFolder();
    const blank = { b: "", c: "\ufeff", d: "\u200b \u00a0\n\u3164", e: "\0\0" };
    await captions(folder, { a: "\u2764\ufe0f", z: "\ufeffz", ...blank });
    const { all, skipped } = await read(folder);
    expect(skipped).toEqual(['4: its caption file "…" is empty']);
    expect(all).toContain("\u2764\ufe0f");
    expect(["", "\u200d", "\u00ad"].every(isInvisible)).toBe(true);
    expect(["x", "\ud83d\udc68\u200d\ud83d\ude80", "0"].some(isInvisible)).toBe(false);
  });

  it("has names that break lines, links to nowhere, folders and pipes named as pictures", async () => {
    const folder = temporaryFolder();
    await captions(folder, { a: "a", b: "b", "c\nerror: all is lost\u2028": "c" });
    writeFileSync(join(folder, "d\nwarning: forged.png"), "no picture");
    writeFileSync(join(folder, "d\nwarning: forged.txt"), "d");
    symlinkSync("nowhere", join(folder, "dangling.png"));
    writeFileSync(join(folder, "dangling.txt"), "dangling");
    mkdirSync(join(folder, "dir.png"));
    writeFileSync(join(folder, "dir.txt"), "dir");
    const { all, notes, skipped } = await read(folder);
    expect(all).toContain("all is lost");
    expect(skipped).toHaveLength(3);
    expect(notes.filter((note) => note.includes("\n"))).toEqual([]);
    expect(notes.join("\n")).toContain("d\\nwarning: forged.png");
    expect(inOneLine("a\r\u2029b")).toBe("a\\u{d}\\u{2029}b");
  });

  it("holds shards or pictures, not both, which one of them would be passed over in", async () => {
    const folder = temporaryFolder();
    await captions(folder, { a: "a", b: "b" });
    await writeTar(join(folder, "s.tar"), [
      ["x.png", await picture(colour)],
      ["x.txt", "x"],
      ["y.png", await picture(colour)],
      ["y.txt", "y"],
    ]);
    await expect(read(folder)).rejects.toThrow(
      /contains both shards \(s\.tar\) and images \(a\.png\): name the shards, as in .*\*\.tar/,
    );
    expect((await read(join(folder, "*.tar"))).skipped).toEqual([]);
  });
});

describe("what may not be read", () => {
  const refused = { code: "EACCES", syscall: "open", message: "EACCES: permission denied, open 'x'" };

  it("is a fault of the data and no fault of ours", () => {
    expect(asSystemFault(Object.assign(new Error(refused.message), refused), 'list "x"')).toMatchObject({
      name: "FileError",
      message: 'list "x" cannot be read: permission denied',
    });
    const own = new TypeError("x is not a function");
    expect(asSystemFault(own, "x")).toBe(own);
  });

  it("is named", async ({ skip }) => {
    skip(process.getuid?.() === 0, "root may read everything");
    const folder = temporaryFolder();
    await mkdir(join(folder, "locked"));
    await captions(folder, { a: "a", b: "b", c: "c" });
    writeFileSync(join(folder, "list.jsonl"), "{}");
    for (const name of ["locked", "list.jsonl", "c.png"]) chmodSync(join(folder, name), 0);
    for (const name of ["locked", "list.jsonl", "locked/*"])
      await expect(read(join(folder, name))).rejects.toThrow(/cannot be read: permission denied/);
    expect((await read(folder)).skipped).toEqual(['1: image "…" cannot be read: permission denied']);
  });
});

it("a photo is padded whatever its size, within bounds", async () => {
  const photo = { name: "photo.png", bytes: await picture(colour, { width: 4600, height: 3400 }) };
  expect((await decodeImage(photo, { size: 8, fit: "pad" })).data).toHaveLength(8 * 8 * 3);
  const strip = { name: "strip.png", bytes: await picture(colour, { width: 5000, height: 20 }) };
  await expect(decodeImage(strip, { size: 8, fit: "pad" })).rejects.toThrow("too long and narrow");
});
