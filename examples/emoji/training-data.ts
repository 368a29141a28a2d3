/** Emoji as training data: images by three artists, names in four languages, and a tokenizer trained on the names. */
import { UsageError } from "../../compiler/index.ts";
import {
  type BatchOptions,
  type Cursor,
  contrastiveBatches,
  firstBatch,
  type ImageStore,
  imageStore,
  itemBatches,
  learnedTokenizerConfig,
  learnTokenizer,
  type Skipped,
  skipLog,
  type Tokenizer,
  tokenizerFrom,
} from "../../data/index.ts";
import type { Json } from "../../runtime/index.ts";
import { type ArtistId, artists } from "./artists.ts";
import { questionTexts } from "./questions.ts";
import { type EmojiSet, emojiItems, emojiSet } from "./set.ts";

/** The artists that may be trained on. Noto's never are: reported results are on them. */
const learnable: readonly ArtistId[] = ["twemoji", "openmoji", "fluent"];

/** The artists that a run trains on if it is tested on `heldOut`. Throws UsageError if that is none of the four. */
export function trainedArtists(heldOut: string): readonly ArtistId[] {
  if (Object.hasOwn(artists, heldOut)) return learnable.filter((artist) => artist !== heldOut);
  throw new UsageError(`heldOut is the artist that is tested on, ${Object.keys(artists).join(", ")}, not "${heldOut}"`);
}

export interface EmojiData {
  /** The emoji to train or test on. */
  readonly set: EmojiSet;
  /** All emoji, from which negatives are sampled. */
  readonly whole: EmojiSet;
  readonly tokenizer: Tokenizer;
  /** The tokenizer.json to store beside the weights. */
  readonly tokenizerJson: object;
  /** Pictures of `size` pixels a side: each is decoded once, for all stages and their tests. */
  readonly pictures: (size: number) => ImageStore;
}

/** The test data of a stage. */
export interface Test {
  readonly data: EmojiData;
  readonly heldOut: ArtistId;
  readonly drawnBy: readonly ArtistId[];
  readonly batch: number;
  readonly seed: number;
}

/** At most `count` emoji, evenly spread. */
export const spread = (emoji: EmojiSet["emoji"], count: number): EmojiSet["emoji"] =>
  count >= emoji.length
    ? emoji
    : Array.from({ length: count }, (_, i) => emoji[Math.floor((i * emoji.length) / count)]!);

export async function emojiData(vocabulary: number): Promise<EmojiData> {
  const set = await emojiSet();
  const names = set.emoji.flatMap((e) => set.languages.map((l) => e.texts[l]![0]!));
  const tokenizerJson = learnTokenizer([...names, ...questionTexts(set)], vocabulary);
  return {
    set,
    whole: set,
    tokenizerJson,
    tokenizer: tokenizerFrom("the learned tokenizer", tokenizerJson, learnedTokenizerConfig),
    pictures: emojiPictures(),
  };
}

/** Keeps a store for each size that is asked for. */
export function emojiPictures(): EmojiData["pictures"] {
  const stores = new Map<number, ImageStore>();
  return (size) => {
    const store = stores.get(size) ?? imageStore({ size, fit: "pad", fill: [255, 255, 255], keepsAlpha: true });
    stores.set(size, store);
    return store;
  };
}

export interface EmojiBatches {
  /** Side of the images. */
  readonly image: number;
  /** Ids per name. */
  readonly tokens: number;
  readonly batch: number;
  readonly seed: number;
  readonly drawnBy: readonly ArtistId[];
}

/** Endless batches of images and their names from a cursor on; unreadable ones are reported. */
export function emojiBatches(
  { set, tokenizer, pictures }: EmojiData,
  { image, tokens, batch, seed, drawnBy }: EmojiBatches,
  cursor: Json | undefined,
  note: (text: string) => void,
): ReturnType<typeof contrastiveBatches> {
  const skipped = skipLog();
  const onSkip = (s: Skipped) => {
    skipped.add(s);
    note(`skipped ${s.name}: ${s.reason}`);
  };
  const rows = itemBatches(emojiItems(set, drawnBy), batch, (cursor as Cursor | undefined) ?? firstBatch(seed));
  const options: BatchOptions = {
    images: pictures(image),
    size: image,
    augmentation: { scale: [0.7, 1], recolour: 0.3 },
    tokenizer,
    tokens,
    extraTexts: 0,
    onSkip,
  };
  return contrastiveBatches(rows, options);
}
