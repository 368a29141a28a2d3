/** The data package: images, texts, datasets, batches, and evaluation metrics. */
export { type ExactAnswers, exactAnswers, type YesNoMeasures, yesNoMeasures } from "./answers.ts";
export { type BatchOptions, type ContrastiveBatch, contrastiveBatches } from "./batches.ts";
export { learnedTokenizerConfig, learnTokenizer } from "./bpe.ts";
export { classColour, classesDrawn, classesPng } from "./class-pictures.ts";
export { type ClassFigures, type Classification, classification } from "./classification.ts";
export { mapLimited, prefetch } from "./concurrency.ts";
export { type DataCursor, filesAre, type OnChange } from "./cursor.ts";
export {
  isRecord,
  listFolder,
  type OnSkip,
  orFileError,
  readJson,
  type SkipLog,
  type Skipped,
  skipLog,
} from "./files.ts";
export { type ImageStore, imageStore } from "./image-store.ts";
export {
  type Classes,
  coveringSides,
  decodeClasses,
  decodeImage,
  decodeResized,
  decodeTiles,
  type Geometry,
  type ImageSource,
  imageDataUri,
  imageName,
  imageSides,
  meanColour,
} from "./images.ts";
export type { Instruction, Turn } from "./instructions.ts";
export { drawPair, type Item, type Pair } from "./items.ts";
export { isListing, type ListedFile, type Listing, listingChange, listingOf } from "./listing.ts";
export * from "./measures/index.ts";
export {
  type OpenData,
  type OpenDataOptions,
  type OpenSource,
  openData,
  type SampleBatch,
  type SharedReading,
} from "./open-data.ts";
export {
  type BatchRows,
  type Cursor,
  epochBatches,
  firstBatch,
  itemBatches,
} from "./order.ts";
export { type PackedTexts, type Packing, packedTexts, type TextRow } from "./packed-texts.ts";
export type { Pixels, Rgb } from "./pixels.ts";
export { type Question, type QuestionOptions, readMme, readQuestions, spoken } from "./questions.ts";
export { pick, type Random, seededRandom, shuffled } from "./random.ts";
export { readTokenizer } from "./read-tokenizer.ts";
export {
  chanceRecall,
  type Embeddings,
  type Neighbour,
  nearest,
  type Positives,
  type Recall,
  type RecallOptions,
  recallAt,
  retrieval,
  rightRanks,
  selectedRows,
  unitRows,
} from "./retrieval.ts";
export {
  type ConversationSample,
  type LabelSample,
  type MaskSample,
  type PairSample,
  type RawSample,
  type RecordSample,
  type SampleKind,
  type SampleOf,
  type SamplesByKind,
  sampleKinds,
  type TextSample,
} from "./samples.ts";
export { type ShardsWritten, writeShards } from "./shard-writer.ts";
export { skipCounts } from "./skips.ts";
export { type Holdings, holdings, type Spread, type Survey, type SurveyOptions, survey } from "./survey.ts";
export {
  byteTokenizer,
  type SpecialTokens,
  type TokenBatch,
  type Tokenizer,
  tokenBatch,
  tokenizerFrom,
  withTokens,
} from "./text.ts";
export { mostTiles, type Tiling } from "./tiles.ts";
export { readVideos, spreadFrames, type Video } from "./videos.ts";
export {
  type Augmentation,
  imageTensor,
  type Normalization,
  randomView,
  type View,
  white,
  wholeView,
} from "./view.ts";
