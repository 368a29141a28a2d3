/** Six pictures of three colours, as data of every kind that stages read. */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import sharp from "sharp";
import { type scratch, writePicture } from "./support.ts";

type Folder = ReturnType<typeof scratch>;

export const colours = { red: [220, 20, 20], green: [20, 200, 30], blue: [20, 30, 220] } as const;

/** Fills `pairs`, `photos`, `classes`, `seg`, and `talks.json` about the photos. */
export async function colourData(folder: Folder): Promise<void> {
  for (const at of ["pairs", "photos", "seg/images", "seg/annotations"]) mkdirSync(folder.at(at), { recursive: true });
  const talks = [];
  for (const [label, [name, [r, g, b]]] of Object.entries(colours).entries()) {
    mkdirSync(folder.at("classes", name), { recursive: true });
    for (const i of [0, 1]) {
      const picture = folder.at("pairs", `${name}-${i}.png`);
      await writePicture(picture, r, g - i * 10, b);
      writeFileSync(folder.at("pairs", `${name}-${i}.txt`), `${name} ${i}`);
      for (const at of ["photos", `classes/${name}`, "seg/images"]) cpSync(picture, folder.at(at, basename(picture)));
      const grey = { r: label + 1, g: label + 1, b: label + 1 };
      await sharp({ create: { width: 24, height: 20, channels: 3, background: grey } })
        .toColourspace("b-w")
        .png()
        .toFile(folder.at("seg/annotations", basename(picture)));
      const said = [
        { from: "human", value: "<image>\nWhat?" },
        { from: "gpt", value: name },
        { from: "human", value: "Sure?" },
        { from: "gpt", value: "yes" },
      ];
      talks.push({ id: `${name}${i}`, image: basename(picture), conversations: said });
    }
  }
  const greeting = [
    { from: "human", value: "Hi" },
    { from: "gpt", value: "hello" },
  ];
  const long = [greeting[0], { from: "gpt", value: "long ".repeat(40) }];
  const all = [...talks, { id: "a", conversations: greeting }, { id: "b", conversations: long }];
  writeFileSync(folder.at("talks.json"), JSON.stringify(all));
}
