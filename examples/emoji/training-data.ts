/** Emoji as training data: drawn by three artists, named in four languages, read by a tokenizer that its names teach. */
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

/** Whose pictures may be learned from. Noto's never are: the figures that are told are of them. */
const learnable: readonly ArtistId[] = ["twemoji", "openmoji", "fluent"];

/** The artists that a run learns from, where it is tested on `heldOut`. Throws UsageError for none of the four. */
export function trainedArtists(heldOut: string): readonly ArtistId[] {
  if (Object.hasOwn(artists, heldOut)) return learnable.filter((artist) => artist !== heldOut);
  throw new UsageError(`heldOut is the artist that is tested on, ${Object.keys(artists).join(", ")}, not "${heldOut}"`);
}

export interface EmojiData {
  /** What is learned, or tested. */
  readonly set: EmojiSet;
  /** All that there is, which wrong answers are drawn from. */
  readonly whole: EmojiSet;
  readonly tokenizer: Tokenizer;
  /** The tokenizer.json that lies beside the weights. */
  readonly tokenizerJson: object;
  /** Pictures of `size` pixels a side: each is decoded once, for all stages and their tests. */
  readonly pictures: (size: number) => ImageStore;
}

/** What a stage is tested on. */
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
    const store = stores.get(size) ?? imageStore({ size, fit: "pad", fill: [255, 255, 255] });
    stores.set(size, store);
    return store;
  };
}

export interface EmojiBatches {
  /** Side of the pictures. */
  readonly image: number;
  /** Ids of a name. */
  readonly tokens: number;
  readonly batch: number;
  readonly seed: number;
  readonly drawnBy: readonly ArtistId[];
}

/** Endless batches of pictures and their names from a cursor on; what cannot be read is told. */
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
