import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { openData } from "../../data/index.ts";
import { picture, readOnce, temporaryFolder } from "./support.ts";

const png = await picture({ r: 9, g: 9, b: 9 });

const entry = (image?: unknown, value = "What is it?") => ({
  id: "7",
  ...(image === undefined ? {} : { image }),
  conversations: [
    { from: "human", value: image === undefined ? value : `<image>\n${value}` },
    { from: "gpt", value: "A cat." },
  ],
});

/** What users get of a list with a picture beside it, names without its folder. */
async function read(text: string | Buffer) {
  const folder = temporaryFolder();
  const file = join(folder, "data.json");
  await mkdir(join(folder, "coco"));
  await writeFile(join(folder, "coco/1.png"), png);
  await writeFile(file, text);
  const { samples, skipped } = await readOnce([file], "conversations");
  return {
    samples: samples.map(({ image, ...sample }) => ({
      ...sample,
      ...(image && { image: image.slice(folder.length) }),
    })),
    skipped: skipped.map(({ count, example, reason }) => [count, example.slice(file.length), reason]),
  };
}

describe("an instruction list", () => {
  it("has conversations with and without a picture", async () => {
    const { samples, skipped } = await read(JSON.stringify([entry("coco/1.png"), entry()], null, 2));
    expect(skipped).toEqual([]);
    expect(samples).toEqual([
      {
        id: "7",
        image: "/coco/1.png",
        turns: [
          { role: "user", text: "<image>\nWhat is it?" },
          { role: "assistant", text: "A cat." },
        ],
      },
      { id: "7", turns: expect.any(Array) },
    ]);
  });

  it("loses conversations about another image than they have", async () => {
    const said = (image: string | undefined, ...questions: string[]) => ({
      ...(image && { image }),
      conversations: questions.flatMap((value) => [{ from: "human", value }, entry().conversations[1]]),
    });
    const { samples, skipped } = await read(
      JSON.stringify([
        said("coco/1.png", "What?", "<image>\nAnd now?"),
        said(undefined, "What?", "<image>\nAnd now?"),
        said("coco/1.png", "<image>\nWhat?", "<image>\nAnd now?"),
        said("coco/1.png", "<image><image>"),
      ]),
    );
    expect(samples.map(({ image }) => image)).toEqual(["/coco/1.png"]);
    expect(skipped).toEqual([
      [1, "[1]", 'turn # has <image>, but there is no "…"'],
      [2, "[2]", "it has <image> 2 times, but one image"],
    ]);
  });

  it("loses broken entries and paths that leave the folder alone, counted and named", async () => {
    const escapes = ["../1.png", "/etc/passwd", "a/../../b.png", "..\\1.png", "C:/x.png", "", "a\0.png"];
    const broken = [
      ...escapes.map((image) => entry(image)),
      entry(7),
      [],
      { id: 1 },
      { conversations: [] },
      { conversations: [{ from: "nobody", value: "" }] },
      { conversations: [{ from: "gpt" }] },
    ];
    const { samples, skipped } = await read(JSON.stringify([...broken, entry("coco/1.png")]));
    expect(samples.length).toBe(1);
    expect(skipped).toEqual([
      [escapes.length, "[0]", 'its image "…" is not a path inside the image folder'],
      [1, "[7]", "its image # is not a path inside the image folder"],
      [1, "[8]", "it is not a JSON object"],
      [2, "[9]", 'it has no "…"'],
      [1, "[11]", '"…" of turn # must be one of system, human, user, gpt, assistant'],
      [1, "[12]", 'turn # has no text in "…"'],
    ]);
  });

  it("loses one malformed entry, not its neighbours", async () => {
    const good = JSON.stringify(entry());
    const { samples, skipped } = await read(`\ufeff [${good}, {"id": oops}, ${good} ]\n`);
    expect(samples.length).toBe(2);
    expect(skipped).toEqual([[1, "[1]", expect.stringMatching(/^it is not valid JSON: /)]]);
  });

  it("keeps what came before the place where a file was cut off", async () => {
    const text = JSON.stringify([entry(), entry(), entry()]);
    const { samples, skipped } = await read(text.slice(0, -50));
    expect(samples.length).toBe(2);
    expect(skipped).toEqual([[1, "", "it is cut off, or has an unclosed quote, after # elements"]]);
    expect((await read(`${text} [1]`)).skipped).toEqual([[1, "", "text after its array is ignored"]]);
  });

  it("is cut as JSON.parse cuts it, across chunk borders too", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.jsonValue(), { maxLength: 5 }), async (values) => {
        const { samples, skipped } = await read(JSON.stringify([...values, entry()], null, 1));
        expect(samples.length).toBe(1);
        expect(skipped.reduce((n, [count]) => n + (count as number), 0)).toBe(values.length);
      }),
      { numRuns: 30 },
    );
    const long = entry(undefined, `قطة "\\" ] } , [ { 猫 `.repeat(20_000)); // larger than one chunk
    const { samples, skipped } = await read(JSON.stringify([long, long]));
    expect(skipped).toEqual([]);
    expect(samples.map(({ turns }) => turns[0]!.text)).toEqual(Array(2).fill(long.conversations[0]!.value));
  });

  it("is refused by name where it is no JSON array, or is not there", async () => {
    await expect(read('{"a": 1}')).rejects.toThrow(/data.json" is not a JSON array; .* name it .jsonl/);
    await expect(read("")).rejects.toThrow(/data.json" is empty/);
    const folder = temporaryFolder();
    await expect(readOnce([join(folder, "x.json")], "conversations")).rejects.toThrow(FileError);
    await writeFile(join(folder, "y.json"), "[]");
    const options = { batch: 1, seed: 1, image: { size: 2, fit: "squash" }, workers: 0 } as const;
    const opening = openData([join(folder, "y.json")], "conversations", { ...options, images: `${folder}/images` });
    await expect(opening).rejects.toThrow(/image folder ".*images" cannot be read: it does not exist/);
  });

  it.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("has no turn from %j", async (from) => {
    const turn = `{"from":${JSON.stringify(from)},"value":"hello"}`;
    const { samples, skipped } = await read(`[{"id":1,"conversations":[${turn}]}]`);
    expect(samples).toEqual([]);
    expect(skipped).toEqual([[1, "[0]", expect.stringContaining("of turn # must be one of system, human")]]);
  });
});
