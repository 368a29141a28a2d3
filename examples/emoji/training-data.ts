/** Emoji as training data: drawn by three artists, named in four languages, read by a tokenizer that its names teach. */
import {
  type ArtistId,
  type BatchOptions,
  type Cursor,
  contrastiveBatches,
  type EmojiSet,
  emojiItems,
  emojiSet,
  firstBatch,
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

export const trainedArtists = ["twemoji", "openmoji", "fluent"] as const;
export const heldOutArtist: ArtistId = "noto";

export interface EmojiData {
  readonly set: EmojiSet;
  readonly tokenizer: Tokenizer;
  /** The tokenizer.json that lies beside the weights. */
  readonly tokenizerJson: object;
}

export async function emojiData(vocabulary: number): Promise<EmojiData> {
  const set = await emojiSet();
  const names = set.emoji.flatMap((e) => set.languages.map((l) => e.texts[l]![0]!));
  const tokenizerJson = learnTokenizer(names, vocabulary);
  return {
    set,
    tokenizerJson,
    tokenizer: tokenizerFrom("the learned tokenizer", tokenizerJson, learnedTokenizerConfig),
  };
}

export interface EmojiBatches {
  /** Side of the pictures. */
  readonly image: number;
  /** Ids of a name. */
  readonly tokens: number;
  readonly batch: number;
  readonly seed: number;
}

/** Endless batches of pictures and their names from a cursor on; what cannot be read is told. */
export function emojiBatches(
  { set, tokenizer }: EmojiData,
  { image, tokens, batch, seed }: EmojiBatches,
  cursor: Json | undefined,
  note: (text: string) => void,
): ReturnType<typeof contrastiveBatches> {
  const skipped = skipLog();
  const onSkip = (s: Skipped) => {
    skipped.add(s);
    note(`skipped ${s.name}: ${s.reason}`);
  };
  const rows = itemBatches(emojiItems(set, trainedArtists), batch, (cursor as Cursor | undefined) ?? firstBatch(seed));
  const options: BatchOptions = {
    images: imageStore({ size: image, fit: "pad", fill: [255, 255, 255] }),
    size: image,
    augmentation: { scale: [0.7, 1], recolour: 0.3 },
    tokenizer,
    tokens,
    extraTexts: 0,
    onSkip,
  };
  return contrastiveBatches(rows, options);
}
