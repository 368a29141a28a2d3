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
  const special = { pad: "<pad>", bos: "<s>", eos: "</s>" };
  const text = new TextEncoder().encode(JSON.stringify(about.tokenizer));
  const tokenizer = await openTokenizer(text, { special });
  return {
    ...about,
    emoji: about.emoji.slice(0, count),
    vocabulary: tokenizer.vocabularySize,
    picture: picturesOf(about, sheet),
    ids: (words, length) => {
      const ids = tokenizer.encode(words, length);
      return [...ids, ...new Array<number>(length - ids.length).fill(tokenizer.pad)];
    },
  };
}

/** The images of a sheet, which is closed; each is kept once it was asked for. */
function picturesOf(about: PackedEmoji, sheet: ImageBitmap): Emoji["picture"] {
  const canvas = new OffscreenCanvas(sheet.width, sheet.height);
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.drawImage(sheet, 0, 0);
  sheet.close();
  const known = new Map<number, Picture>();
  return (index, artist) => {
    const key = index * about.artists.length + artist;
    const { x, y } = placeOf(about, index, artist);
    const picture = known.get(key) ?? planesOf(context.getImageData(x, y, side, side));
    known.set(key, picture);
    return picture;
  };
}

async function fetched(url: string): Promise<Response> {
  const response = await fetch(url);
  if (response.ok) return response;
  throw new Error(`cannot load ${url}: HTTP ${response.status} ${response.statusText}`);
}
