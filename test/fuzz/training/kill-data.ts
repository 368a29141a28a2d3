/** Small data of several kinds for runs that are killed, some of it broken, so that what is skipped is counted too. */
import { createWriteStream, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import sharp from "sharp";
import { pack } from "tar-stream";
import { randomStream } from "../../../runtime/index.ts";

const colours = ["red", "green", "blue", "yellow", "grey", "violet"];

/** Fills `shards`, `folder`, `heldOut`, `photos`, `talks.json`, `more-talks.jsonl` and `texts`. */
export async function killData(root: string): Promise<void> {
  const at = (...parts: string[]) => join(root, ...parts);
  for (const name of ["shards", "folder", "heldOut", "photos", "texts"]) mkdirSync(at(name), { recursive: true });
  for (let shard = 0; shard < 6; shard++) await writeShard(at("shards", `00${shard}.tar`), shard);
  for (let i = 0; i < 9; i++) {
    for (const name of ["folder", "heldOut"]) {
      writeFileSync(at(name, `${i}.png`), await picture(100 + i, name));
      writeFileSync(at(name, `${i}.txt`), `${captionOf(i)}\nnumber ${i}\n`);
    }
    writeFileSync(at("photos", `${i}.png`), await picture(200 + i, "photos"));
  }
  writeFileSync(at("folder", "broken.png"), "not a picture");
  writeFileSync(at("folder", "broken.txt"), "a broken one");
  const talks = Array.from({ length: 14 }, (_, i) => talkOf(i));
  writeFileSync(at("talks.json"), JSON.stringify(talks.slice(0, 8)));
  writeFileSync(
    at("more-talks.jsonl"),
    `${talks
      .slice(8)
      .map((t) => JSON.stringify(t))
      .join("\n")}\n{"id": "torn`,
  );
  for (const i of [0, 1, 2])
    writeFileSync(
      at("texts", `${i}.txt`),
      Array.from({ length: 60 }, (_, line) => captionOf(7 * i + line)).join(".\n"),
    );
}

const captionOf = (i: number): string =>
  `${colours[i % 6]} and ${colours[(5 * i + 2) % 6]} ${"again ".repeat(i % 4)}`.trim();

/** A shard of five pairs, one of them with a broken image and one without a caption. */
async function writeShard(path: string, shard: number): Promise<void> {
  const tar = pack();
  const written = pipeline(tar, createWriteStream(path));
  for (let i = 0; i < 5; i++) {
    const key = `${shard}-${i}`;
    const isBroken = i === 3 && shard % 2 === 0;
    tar.entry({ name: `${key}.png` }, isBroken ? "no picture" : await picture(10 * shard + i, "shard"));
    if (i !== 4 || shard % 3 !== 0) tar.entry({ name: `${key}.txt` }, captionOf(3 * shard + i));
  }
  tar.finalize();
  await written;
}

/** A picture of noise, which depends on its number and folder alone. */
function picture(number: number, of: string): Promise<Buffer> {
  const [width, height] = [24, 20];
  const noise = randomStream(number, of).fill({ kind: "uniform", low: 0, high: 255 }, 3 * width * height, 0);
  return sharp(Uint8Array.from(noise), { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

/** A conversation of one or several turns, every third without an image. */
function talkOf(i: number) {
  const image = i % 3 === 2 ? undefined : `${i % 9}.png`;
  const turns = Array.from({ length: 1 + (i % 3) }, (_, turn) => [
    { from: "human", value: `${image && turn === 0 ? "<image>\n" : ""}What is number ${turn}?` },
    { from: "gpt", value: captionOf(i + turn) },
  ]);
  return { id: `talk-${i}`, ...(image && { image }), conversations: turns.flat() };
}
