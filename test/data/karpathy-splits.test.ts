/** Captions in Karpathy's form: images with their sentences and the split that they belong to. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { survey } from "../../data/index.ts";
import { picture, temporaryFolder } from "./support.ts";

const image = (id: number, split: string, said: readonly unknown[], filepath?: string) => ({
  ...(filepath !== undefined && { filepath }),
  filename: `${id}.png`,
  imgid: id,
  sentids: [5 * id],
  split,
  sentences: said.map((raw) => ({ raw, tokens: ["unread"] })),
});

const images = [
  image(1, "train", ["a dog ", "a hound"], "train2014"),
  image(2, "test", ["a cat", 7], "val2014"),
  image(3, "restval", ["a bird"]),
  image(4, "test", []),
];

async function pairsOf(value: unknown, spec: string, kind: "pairs" | "conversations" = "pairs") {
  const folder = temporaryFolder();
  for (const [place, id] of [
    ["train2014", 1],
    ["val2014", 2],
    [".", 3],
  ] as const) {
    await mkdir(join(folder, place), { recursive: true });
    await writeFile(join(folder, place, `${id}.png`), await picture({ r: id, g: 0, b: 0 }));
  }
  await writeFile(join(folder, "dataset.json"), JSON.stringify(value));
  const found = await survey([join(folder, spec)], kind, { decode: true, images: folder, language: "en" });
  const samples = await Array.fromAsync(found.kept());
  const path = `${join(folder, "dataset.json")}: `;
  return {
    samples: samples.map(({ image, texts }) => [image!.toString().slice(folder.length + 1), texts!.en]),
    broken: [...found.broken()].map(
      ([reason, { count, example }]) => `${example.slice(path.length)}: ${reason} ${count}`,
    ),
  };
}

it("are the images of the splits that are named, each with all its sentences", async () => {
  const value = { images, dataset: "coco" };
  expect(await pairsOf(value, "dataset.json#train,restval")).toEqual({
    samples: [
      ["train2014/1.png", ["a dog", "a hound"]],
      ["3.png", ["a bird"]],
    ],
    broken: [],
  });
  expect(await pairsOf(value, "dataset.json#test")).toEqual({
    samples: [["val2014/2.png", ["a cat"]]],
    broken: ['images[1].sentences[1]: it has no "…" 2'],
  });
});

it("are read without a name if there is one split", async () => {
  const { samples } = await pairsOf({ images: images.slice(1, 2) }, "dataset.json");
  expect(samples).toEqual([["val2014/2.png", ["a cat"]]]);
});

it.each([
  ["several splits, of which none is named", { images }, "dataset.json", /several splits: "train" \(1\), "test" \(2\)/],
  ["a split that is not there", { images }, "dataset.json#train,dev", /has no split "dev": .*\n {2}hint: append those/],
  ["no name after the mark", { images }, "dataset.json#", /names no split after #/],
  [
    "a split of a plain list",
    [{ image: "3.png", caption: "x" }],
    "dataset.json#test",
    /has no splits: leave out "#test"/,
  ],
  ["a split of COCO's form", { images: [], annotations: [] }, "dataset.json#test", /has no splits/],
])("are an error with %s", async (_, value, spec, message) => {
  await expect(pairsOf(value, spec)).rejects.toThrow(message);
});

it("are no conversations", async () => {
  await expect(pairsOf([], "dataset.json#test", "conversations")).rejects.toThrow(/has no splits/);
});
