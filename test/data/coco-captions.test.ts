/** Captions in COCO's form: images in one array, their captions in another. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { survey } from "../../data/index.ts";
import { picture, temporaryFolder } from "./support.ts";

const named = (id: number) => ({ id, file_name: `${id}.png`, coco_url: "unread" });
const said = (id: unknown, caption: unknown) => ({ image_id: id, caption });

async function pairsOf(value: unknown) {
  const folder = temporaryFolder();
  await mkdir(join(folder, "images"));
  for (const id of [1, 2, 3])
    await writeFile(join(folder, "images", `${id}.png`), await picture({ r: id, g: 0, b: 0 }));
  await writeFile(join(folder, "captions.json"), `\n${JSON.stringify(value, null, 1)}`);
  const options = { decode: true, images: join(folder, "images"), language: "en" };
  const found = await survey([join(folder, "captions.json")], "pairs", options);
  const samples = await Array.fromAsync(found.kept());
  return {
    samples,
    broken: [...found.broken()].map(([reason, { count, example }]) => `${example}: ${reason} ${count}`),
    folder,
  };
}

it("are a sample per image with all its captions, and what has no counterpart is reported", async () => {
  const { samples, broken, folder } = await pairsOf({
    info: {},
    images: [2, 1, 3, 4].map(named),
    annotations: [said(1, "a"), said(2, "b"), said(1, "c "), said(9, "of none"), said(2, 7), said(4, "no file")],
  });
  expect(samples.map(({ image, texts }) => [image, texts])).toEqual([
    [join(folder, "images", "2.png"), { en: ["b"] }],
    [join(folder, "images", "1.png"), { en: ["a", "c"] }],
  ]);
  const at = `${join(folder, "captions.json")}: `;
  expect(broken.map((text) => text.slice(at.length))).toEqual([
    "annotations[3]: its image_id # is that of no image 1",
    'annotations[4]: it has no "…" 2',
    'image 4: image "…" cannot be read: it does not exist 1',
  ]);
});

it.each([
  ["an id of two images", { images: [1, 1].map(named), annotations: [] }, "several images with one id"],
  ["an image without an id", { images: [null], annotations: [] }, "several images with one id, or with none"],
  ["another object", { images: [] }, 'neither a JSON array nor an object with "images" and "annotations"'],
])("are refused with %s", async (_, value, message) => {
  await expect(pairsOf(value)).rejects.toThrow(message);
});
