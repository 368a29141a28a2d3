import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { folderItems, skipLog } from "../../data/index.ts";
import { picture, skips, temporaryFolder } from "./support.ts";

describe("folderItems", () => {
  it("pairs pictures with the captions beside them and names what it leaves out", async () => {
    const folder = temporaryFolder();
    const image = await picture({ r: 1, g: 2, b: 3 });
    for (const name of ["b.png", "a.JPG", "alone.webp", "empty.png", "latin.png"])
      await writeFile(join(folder, name), image);
    await writeFile(join(folder, "a.txt"), "a cat\r\n\n  another cat \n");
    await writeFile(join(folder, "b.txt"), "قطة");
    await writeFile(join(folder, "empty.txt"), " \n");
    await writeFile(join(folder, "latin.txt"), Buffer.from([0x63, 0xe9]));
    await writeFile(join(folder, "notes.md"), "no picture");
    const { list, onSkip } = skips();
    const items = await folderItems(folder, { onSkip, language: "en" });
    expect(items).toEqual([
      { group: "a", images: [join(folder, "a.JPG")], texts: { en: ["a cat", "another cat"] } },
      { group: "b", images: [join(folder, "b.png")], texts: { en: ["قطة"] } },
    ]);
    expect(list.sort((a, b) => (a.name < b.name ? -1 : 1))).toEqual([
      { name: join(folder, "alone.webp"), reason: 'it has no caption file "alone.txt"' },
      { name: join(folder, "empty.png"), reason: 'its caption "empty.txt" is empty' },
      { name: join(folder, "latin.png"), reason: '"latin.txt" is not UTF-8 text' },
    ]);
  });

  it("refuses a missing folder, a file, and a folder without captioned pictures", async () => {
    const folder = temporaryFolder();
    await mkdir(join(folder, "none"));
    await writeFile(join(folder, "file"), "");
    const { onSkip } = skips();
    const messages = {
      [join(folder, "missing")]: /image folder ".*missing" cannot be read: it does not exist/,
      [join(folder, "file")]: /image folder ".*file" cannot be read: part of the path is not a folder/,
      [join(folder, "none")]: /holds no picture with a caption: put cat.txt beside cat.jpg/,
    };
    for (const [path, message] of Object.entries(messages)) {
      const error = await folderItems(path, { onSkip }).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(FileError);
      expect((error as Error).message).toMatch(message);
    }
  });
});

describe("skipLog", () => {
  it("counts each name once and keeps the first reasons", () => {
    const log = skipLog(2);
    for (const name of ["a", "b", "a", "c", "c", "d"]) log.add({ name, reason: `broken ${name}` });
    expect(log.count).toBe(4);
    expect(log.first.map(({ name }) => name)).toEqual(["a", "b"]);
  });
});
