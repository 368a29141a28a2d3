/** The examples of contrastive training: items with images and texts. */
import { type ImageSource, imageName } from "./images.ts";
import { pick, type Random } from "./random.ts";

/**
 * An item: any of its images matches any of its texts.
 * Items of the same `group` show the same thing, so a batch must not contain two of them: they would be false negatives
 * of each other.
 */
export interface Item {
  readonly group: string;
  readonly images: readonly ImageSource[];
  /** Texts by language (BCP 47, "und" if unknown); the first of a language is its main text. */
  readonly texts: Readonly<Record<string, readonly string[]>>;
}

/** An image and a text drawn from an item. */
export interface Pair {
  readonly group: string;
  readonly image: ImageSource;
  readonly imageName: string;
  readonly language: string;
  readonly text: string;
}

/**
 * Draws an image, a language and a text, in this order, independently.
 * With probability `extraTexts` the text is any except the main one, if there are others.
 */
export function drawPair(item: Item, random: Random, extraTexts: number): Pair {
  const image = pick(random, item.images);
  const language = pick(random, Object.keys(item.texts));
  const [main, ...extra] = item.texts[language]!;
  const wantsExtra = random() < extraTexts;
  const text = wantsExtra && extra.length > 0 ? pick(random, extra) : main!;
  return { group: item.group, image, imageName: imageName(image), language, text };
}
