/** Texts as rows of ids: nothing is lost or twice but the id that rows share, wherever a run goes on. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { openData, packedTexts, type TextRow } from "../../data/index.ts";
import { temporaryFolder } from "./support.ts";

const bytes = (text: string) => [...new TextEncoder().encode(text)];
const end = 256;
const packing = { rows: 2, length: 7, encode: bytes, end };

const open = async (specs: readonly string[], rows = packing) =>
  packedTexts(await openData(specs, "texts", { batch: 1, seed: 4 }), rows);

const quiet = () => {};

async function corpus(): Promise<string> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "texts/more"), { recursive: true });
  await writeFile(join(folder, "texts/a.txt"), "one two\nthree\n");
  await writeFile(join(folder, "texts/more/b.TXT"), "vier fünf");
  await writeFile(join(folder, "texts/empty.txt"), "");
  await writeFile(join(folder, "list.jsonl"), ['{"text": "六七"}', '{"words": "none"}', '{"text": "8"}'].join("\n"));
  return folder;
}

/** Rows put together again, without the id that each shares with the one before. */
const joined = (rows: readonly TextRow[]) => rows.flatMap(({ ids }, i) => (i === 0 ? ids : ids.slice(1)));

describe("texts", () => {
  it("are read once in order, each followed by its end, and what is broken is told", async () => {
    const folder = await corpus();
    const packed = await open([join(folder, "texts"), join(folder, "list.jsonl")]);
    const told: string[] = [];
    const rows: TextRow[] = [];
    for await (const { samples } of packed.once((text) => told.push(text))) rows.push(...samples);
    await packed.dispose();
    const texts = ["one two\nthree\n", "vier fünf", "六七", "8"];
    expect(joined(rows)).toEqual(texts.flatMap((text) => [...bytes(text), end]));
    expect(rows.slice(0, -1).every(({ ids }) => ids.length === 7)).toBe(true);
    expect(told.join()).toContain('it has no "text"');
    expect((await packed.files()).map(({ name }) => name.slice(folder.length + 1))).toEqual([
      "texts/a.txt",
      "texts/empty.txt",
      "texts/more/b.TXT",
      "list.jsonl",
    ]);
  });

  it("of long files come in pieces that end where lines do, and end once", async () => {
    const folder = await temporaryFolder();
    const lines = Array.from({ length: 9000 }, (_, i) => `line ${i} füllt\n`).join("");
    const unbroken = "ü".repeat(70_000);
    for (const text of [
      lines,
      unbroken,
      `${lines}${unbroken}`,
      `${"x".repeat(2 ** 16 - 1)}\n`,
      `${"x".repeat(2 ** 16)}\n`,
    ]) {
      await writeFile(join(folder, "long.txt"), text);
      const data = await openData([join(folder, "long.txt")], "texts", { batch: 1, seed: 1 });
      const found: { readonly text: string; readonly ends: boolean }[] = [];
      for await (const { samples } of data.once(quiet)) found.push(samples[0]!);
      await data.dispose();
      expect(found.map((piece) => piece.text).join("")).toBe(text);
      expect(found.length).toBeGreaterThan(text.length > 2 ** 16 ? 1 : 0);
      expect(found.filter(({ ends }) => ends)).toHaveLength(1);
      if (text === lines) expect(found.slice(0, -1).every((piece) => piece.text.endsWith("\n"))).toBe(true);
    }
  });

  it("are drawn again and again in other orders, and go on from any batch to the same rows", async () => {
    const folder = await corpus();
    const specs = [join(folder, "texts"), `2*${join(folder, "list.jsonl")}`];
    const take = async (cursor: unknown, count: number) => {
      const packed = await open(specs);
      const taken = [];
      for await (const batch of packed.batches(cursor, quiet)) if (taken.push(batch) === count) break;
      await packed.dispose();
      return taken;
    };
    const all = await take(undefined, 12);
    for (const { samples } of all) expect(samples.map(({ ids }) => ids.length)).toEqual([7, 7]);
    const stream = joined(all.flatMap(({ samples }) => samples));
    const ends = stream.filter((id) => id === end).length;
    expect(ends).toBeGreaterThan(8); // several epochs
    expect(
      all.flatMap(({ samples }) => samples).every(({ ids }, i, rows) => i === 0 || ids[0] === rows[i - 1]!.ids.at(-1)),
    ).toBe(true);
    for (const [i, { cursor }] of all.entries())
      expect((await take(JSON.parse(JSON.stringify(cursor)), 2)).map(({ samples }) => samples)).toEqual(
        (i < 10 ? all.slice(i + 1, i + 3) : (await take(undefined, 14)).slice(i + 1, i + 3)).map(
          ({ samples }) => samples,
        ),
      );
    await expect(take({ ...all[0]!.cursor, taken: "x" }, 1)).rejects.toThrow("where in a text the data continues");
  });

  it("are asked for without pictures, of places that hold texts", async () => {
    const folder = await corpus();
    await expect(
      openData([join(folder, "texts/a.txt")], "pairs", { batch: 1, seed: 1, image: { size: 4, fit: "crop" } }),
    ).rejects.toThrow("pairs cannot be read from texts (.txt), only from");
    await mkdir(join(folder, "none"));
    await expect(openData([join(folder, "none")], "texts", { batch: 1, seed: 1 })).rejects.toThrow(
      "it contains no .txt files",
    );
    await expect(openData([join(folder, "texts")], "labels", { batch: 1, seed: 1 })).rejects.toThrow();
  });
});
