import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { readInstructions } from "../../data/index.ts";
import { collect, skips, temporaryFolder } from "./support.ts";

const entry = (image?: unknown, value = "What is it?") => ({
  id: "7",
  ...(image === undefined ? {} : { image }),
  conversations: [
    { from: "human", value: `<image>\n${value}` },
    { from: "gpt", value: "A cat." },
  ],
});

async function read(text: string | Buffer) {
  const folder = temporaryFolder();
  const file = join(folder, "data.json");
  await writeFile(file, text);
  const { list, onSkip } = skips();
  const items = await collect(readInstructions(file, folder, { onSkip }));
  return { folder, items, skipped: list.map(({ name, reason }) => `${name.slice(file.length)} ${reason}`) };
}

describe("readInstructions", () => {
  it("reads conversations with and without a picture", async () => {
    const { folder, items, skipped } = await read(JSON.stringify([entry("coco/1.jpg"), entry()], null, 2));
    expect(skipped).toEqual([]);
    expect(items).toEqual([
      {
        id: "7",
        image: join(folder, "coco", "1.jpg"),
        turns: [
          { role: "user", text: "<image>\nWhat is it?" },
          { role: "assistant", text: "A cat." },
        ],
      },
      { id: "7", turns: expect.any(Array) },
    ]);
  });

  it("skips, counts and names broken entries and paths that leave the folder", async () => {
    const escapes = ["../1.jpg", "/etc/passwd", "a/../../b.jpg", "..\\1.jpg", "C:/x.jpg", "", 7, "a\0.jpg"];
    const broken = [
      ...escapes.map((image) => entry(image)),
      [],
      { id: 1 },
      { conversations: [] },
      { conversations: [{ from: "nobody", value: "" }] },
      { conversations: [{ from: "gpt" }] },
    ];
    const { items, skipped } = await read(JSON.stringify([...broken, entry("fine.jpg")]));
    expect(items.length).toBe(1);
    expect(skipped.length).toBe(broken.length);
    expect(skipped[0]).toBe('[0] its image "../1.jpg" is not a path inside the image folder');
    expect(skipped[8]).toBe("[8] it is not a record");
    expect(skipped[11]).toBe("[11] turn 0 is not from one of system, human, user, gpt, assistant");
  });

  it("loses one malformed entry, not its neighbours", async () => {
    const good = JSON.stringify(entry());
    const { items, skipped } = await read(`\ufeff [${good}, {"id": oops}, ${good} ]\n`);
    expect(items.length).toBe(2);
    expect(skipped).toEqual([expect.stringMatching(/^\[1\] it is malformed: /)]);
  });

  it("keeps what came before the place where a file was cut off", async () => {
    const text = JSON.stringify([entry(), entry(), entry()]);
    const { items, skipped } = await read(text.slice(0, -50));
    expect(items.length).toBe(2);
    expect(skipped).toEqual([" it ends, or never closes a quote, after 2 elements"]);
    expect((await read(`${text} [1]`)).skipped).toEqual([" text follows its array and is not read"]);
  });

  it("reads any JSON array as JSON.parse does, across chunk borders too", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const { items, skipped } = await read(JSON.stringify([...values, entry()], null, 1));
        expect(items.length).toBe(1);
        expect(skipped.length).toBe(values.length);
      }),
      { numRuns: 30 },
    );
    const long = entry(undefined, `قطة "\\" ] } , [ { 猫 `.repeat(20_000)); // larger than one chunk
    const { items, skipped } = await read(JSON.stringify([long, long]));
    expect(skipped).toEqual([]);
    expect(items.map(({ turns }) => turns[0]!.text)).toEqual(Array(2).fill(long.conversations[0]!.value));
  });

  it("refuses what is no JSON array, and missing files and folders, by name", async () => {
    await expect(read('{"a": 1}')).rejects.toThrow(/data.json" is not a JSON array/);
    await expect(read("")).rejects.toThrow(/data.json" is empty/);
    const folder = temporaryFolder();
    const { onSkip } = skips();
    const missing = collect(readInstructions(join(folder, "x.json"), folder, { onSkip }));
    await expect(missing).rejects.toThrow(FileError);
    await writeFile(join(folder, "y.json"), "[]");
    const noFolder = collect(readInstructions(join(folder, "y.json"), join(folder, "images"), { onSkip }));
    await expect(noFolder).rejects.toThrow(/image folder ".*images" cannot be read: it does not exist/);
  });

  it.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("skips a turn from %j", async (from) => {
    const turn = `{"from":${JSON.stringify(from)},"value":"hello"}`;
    const { items, skipped } = await read(`[{"id":1,"conversations":[${turn}]}]`);
    expect(items).toEqual([]);
    expect(skipped).toEqual([expect.stringContaining("turn 0 is not from one of system, human")]);
  });
});
