/** What contrastive training reads: things that have pictures and texts. */
import { type ImageSource, imageName } from "./images.ts";
import { pick, type Random } from "./random.ts";

/**
 * One thing to learn: any of its pictures matches any of its texts.
 * Items of one `group` show the same thing, so no batch may hold two of them: each would be the other's false negative.
 */
export interface Item {
  readonly group: string;
  readonly images: readonly ImageSource[];
  /** Texts by language (BCP 47, "und" where it is not known); the first of a language is its main text. */
  readonly texts: Readonly<Record<string, readonly string[]>>;
}

/** A picture and a text drawn from an item. */
export interface Pair {
  readonly group: string;
  readonly image: ImageSource;
  readonly imageName: string;
  readonly language: string;
  readonly text: string;
}

/**
 * Draws a picture, a language and a text, in this order and each independently.
 * With probability `extraTexts` the text is any but the main one, where there are such.
 */
export function drawPair(item: Item, random: Random, extraTexts: number): Pair {
  const image = pick(random, item.images);
  const language = pick(random, Object.keys(item.texts));
  const [main, ...extra] = item.texts[language]!;
  const wantsExtra = random() < extraTexts;
  const text = wantsExtra && extra.length > 0 ? pick(random, extra) : main!;
  return { group: item.group, image, imageName: imageName(image), language, text };
}
