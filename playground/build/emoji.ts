/** Packs the emoji that the page trains on: all images in one sprite sheet, with their names and a tokenizer. */
import sharp, { type OverlayOptions } from "sharp";
import { learnTokenizer } from "../../data/index.ts";
import type { ArtistId } from "../../examples/emoji/artists.ts";
import { type Emoji, emojiSet } from "../../examples/emoji/set.ts";
import { type PackedEmoji, side } from "../machine/packed-emoji.ts";

const artists: readonly ArtistId[] = ["twemoji", "openmoji", "fluent", "noto"];

/** Vocabulary size of the page's tokenizer. */
const vocabulary = 2000;

/** Columns of the sheet; an emoji's images are adjacent. */
const columns = 48;

export interface Pack {
  readonly sheet: Uint8Array;
  readonly about: PackedEmoji;
}

/** Packs `count` emoji, evenly spread over Unicode's order. Throws FileError when an image package is not installed. */
export async function packEmoji(count: number): Promise<Pack> {
  const set = await emojiSet();
  const chosen = Array.from({ length: count }, (_, i) => set.emoji[Math.floor((i * set.emoji.length) / count)]!);
  const texts = chosen.flatMap((e) => set.languages.flatMap((language) => e.texts[language]!.slice(0, 3)));
  return {
    sheet: await sheetOf(chosen),
    about: {
      artists,
      columns,
      languages: set.languages,
      emoji: chosen.map(({ id, characters, texts: named }) => ({
        id,
        characters,
        texts: Object.fromEntries(set.languages.map((l) => [l, named[l]!.slice(0, 3)])),
      })),
      credits: set.credits.map(({ name, author, link, license }) => ({ name, author, link, license })),
      tokenizer: learnTokenizer(texts, vocabulary),
    },
  };
}

async function sheetOf(emoji: readonly Emoji[]): Promise<Uint8Array> {
  const files = emoji.flatMap((e) => artists.map((artist) => e.images[artist]));
  const rows = Math.ceil(files.length / columns);
  const background = { r: 255, g: 255, b: 255 };
  const tiles: OverlayOptions[] = [];
  for (const [i, file] of files.entries())
    tiles.push({
      input: await sharp(file, { density: 96 })
        .resize(side, side, { fit: "contain", background: { ...background, alpha: 0 } })
        .flatten({ background })
        .toBuffer(),
      left: (i % columns) * side,
      top: Math.floor(i / columns) * side,
    });
  const sheet = sharp({ create: { width: columns * side, height: rows * side, channels: 3, background } });
  return new Uint8Array(await sheet.composite(tiles).webp({ quality: 82 }).toBuffer());
}
