/** The packed emoji in the page: images as pixels, names as ids. */
import { tokenizer as openTokenizer } from "../../api/browser.ts";
import { type PackedEmoji, placeOf, side } from "./packed-emoji.ts";
import { planesOf } from "./planes.ts";

/** An image of `side` by `side` pixels in [0, 1], as planes [channel, row, column]. */
export type Picture = Float32Array;

export interface Emoji extends PackedEmoji {
  /** The image of an emoji by an artist, both by index. */
  readonly picture: (emoji: number, artist: number) => Picture;
  /** Ids of a text: BOS, the text, EOS, padded to `length`; longer texts are truncated. */
  readonly ids: (text: string, length: number) => readonly number[];
  readonly vocabulary: number;
}

/** Loads the pack at `base`, limited to `count` emoji. */
export async function loadEmoji(base: string, count = Number.POSITIVE_INFINITY): Promise<Emoji> {
  const [about, sheet] = await Promise.all([
    fetched(`${base}emoji.json`).then((r) => r.json() as Promise<PackedEmoji>),
    fetched(`${base}emoji.webp`)
      .then((r) => r.blob())
      .then(createImageBitmap),
  ]);
  const emoji = about.emoji.slice(0, count);
  const pictures = new Map<number, Picture>();
  const canvas = new OffscreenCanvas(sheet.width, sheet.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(sheet, 0, 0);
  sheet.close();
  const special = { pad: "<pad>", bos: "<s>", eos: "</s>" };
  const text = new TextEncoder().encode(JSON.stringify(about.tokenizer));
  const tokenizer = await openTokenizer(text, { special });
  return {
    ...about,
    emoji,
    vocabulary: tokenizer.vocabularySize,
    picture: (index, artist) => {
      const key = index * about.artists.length + artist;
      const known = pictures.get(key);
      if (known) return known;
      const { x, y } = placeOf(about, index, artist);
      const made = planesOf(context.getImageData(x, y, side, side));
      pictures.set(key, made);
      return made;
    },
    ids: (words, length) => {
      const ids = tokenizer.encode(words, length);
      return [...ids, ...new Array<number>(length - ids.length).fill(tokenizer.pad)];
    },
  };
}

async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (response.ok) return response;
  throw new Error(`cannot load ${url}: HTTP ${response.status} ${response.statusText}`);
}
