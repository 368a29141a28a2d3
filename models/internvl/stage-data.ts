/** The data of each stage of the family: images, texts as the released loaders write them, labels and masks. */
import {
  bareIds,
  type ChatTemplate,
  type FeedContext,
  type ImagePlace,
  type ImagePlan,
  idRows,
  type LabelSample,
  type MaskSample,
  maskRows,
  type PairSample,
  perRow,
  type StageData,
  stageData,
  type TextCodec,
  textRows,
  UsageError,
} from "../../dsl/index.ts";
import { type ChatConfig, imageToken, visualTokenCount } from "./chat.ts";
import type { ContrastiveConfig } from "./contrastive.ts";
import type { GenerativeConfig } from "./generative.ts";
import type { VisionConfig } from "./internvit.ts";
import type { TextConfig } from "./llama.ts";
import type { ProbeConfig } from "./probes.ts";
import type { SegmentationConfig } from "./segmentation.ts";

/** The prefix of texts for the contrastive loss; none with the byte tokenizer of small models. */
export const contrastivePrefix = (text?: Pick<TextCodec, "bytes">): string => (text?.bytes ? "" : "summarize:");

const mostWords = 50;

/**
 * Cleans a caption for retrieval: lower case, the characters . ! " ( ) * # : ; ~ replaced by spaces, runs of spaces
 * collapsed, at most 50 words. BLIP's `pre_caption`, which InternVL's evaluation uses.
 */
export const cleanCaption = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[.!"()*#:;~]/g, " ")
    .trim()
    .split(/\s+/)
    .slice(0, mostWords)
    .join(" ");

/** Settings of image augmentation. */
export interface Crops {
  /** The smallest random crop, as a fraction of the image; 1 disables cropping. */
  readonly crop: number;
  /** Probability of a horizontal flip. */
  readonly flip: number;
}

const cropped = ({ image }: Pick<VisionConfig, "image">, { crop, flip }: Crops): ImagePlan => ({
  size: image,
  fit: "squash",
  augmentation: { ...(crop < 1 && { scale: [crop, 1] as const }), flip },
});

/** Stage 1: texts for the contrastive loss. */
export const contrastiveData = (c: ContrastiveConfig, { prefix, ...crops }: Crops & { readonly prefix: string }) =>
  stageData<"pairs">({
    kind: "pairs",
    image: cropped(c.vision, crops),
    vocabulary: c.text.vocab,
    feeds: (rows, { text }) => ({ ids: contrastiveTexts(rows, text, c, prefix) }),
  });

const contrastiveTexts = (rows: readonly PairSample[], text: TextCodec, c: ContrastiveConfig, prefix: string) =>
  textRows(
    text,
    rows.map((row) => prefix + row.text),
    c.text.context,
  );

export interface StageTwoFeeds extends Crops {
  readonly prefix: string;
  /**
   * The caption's prompt: {language} is replaced by its language in English (English if unknown), {code} by the code in
   * the data.
   */
  readonly prompt: string;
  /**
   * "supplied": half of the rows get another row's text, as in the released code; "mined": the graph finds negatives.
   */
  readonly negatives: string;
}

/** Stage 2: texts for the contrastive, matching and captioning losses. Rows of a batch are of different groups. */
export const generativeData = (c: GenerativeConfig, settings: StageTwoFeeds): StageData =>
  stageData<"pairs">({
    kind: "pairs",
    image: cropped(c.vision, settings),
    vocabulary: c.text.vocab,
    feeds: (rows, { text, random }) => {
      const { context } = c.text;
      const prompts = rows.map(({ language }) => promptIn(settings.prompt, language));
      const isMined = settings.negatives === "mined";
      // The first half, rounded up, has a text that does not match.
      const matches = rows.map((_, i) => (isMined || i >= Math.ceil(rows.length / 2) ? 1 : 0));
      const matching = rows.map((row, i) => (matches[i] ? row : otherRow(rows, i, random)).text);
      return {
        ids: contrastiveTexts(rows, text, c, settings.prefix),
        matching_ids: textRows(text, matching, context),
        ...(isMined ? { group: groupNumbers(rows) } : { matches: perRow(matches) }),
        caption_ids: textRows(
          text,
          rows.map((row, i) => `${prompts[i]} ${row.text}`),
          context,
        ),
        caption_prompt: perRow(prompts.map((prompt) => Math.min(context - 1, 1 + bareIds(text, prompt).length))),
      };
    },
  });

const promptIn = (prompt: string, code: string): string =>
  prompt.replaceAll("{code}", code).replaceAll("{language}", () => languageNamed(code));

const languageNames = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

/** A language's name in English; "English" if unknown, as in the published prompt. */
function languageNamed(code: string): string {
  try {
    return (code === "und" ? undefined : languageNames.of(code)) ?? "English";
  } catch {
    return "English"; // not a BCP 47 code
  }
}

/** A random other row of the batch, which is of another group, as batches hold no two of one. */
function otherRow(rows: readonly PairSample[], row: number, random: () => number): PairSample {
  if (rows.length < 2) throw new UsageError("negatives need the text of another image: the batch must be at least 2");
  return rows[(row + 1 + Math.floor(random() * (rows.length - 1))) % rows.length]!;
}

/**
 * The number of each row's group, the same in every micro-batch of a step: 31 bits of a hash (FNV-1a) of its name. Two
 * groups of a step of 1,024 rows share a number once in 4,000 steps, and then count as one there.
 */
const groupNumbers = (rows: readonly PairSample[]) =>
  perRow(
    rows.map(({ group }) => {
      let hash = 0x811c9dc5;
      for (let i = 0; i < group.length; i++) hash = Math.imul(hash ^ group.charCodeAt(i), 0x01000193);
      return hash >>> 1;
    }),
  );

/** Fine-tuning for retrieval: each image with its own and with another text. */
export const retrievalData = (c: GenerativeConfig, { prefix, ...crops }: Crops & { readonly prefix: string }) =>
  stageData<"pairs">({
    kind: "pairs",
    image: cropped(c.vision, crops),
    vocabulary: c.text.vocab,
    feeds: (rows, { text, random }) => ({
      ids: contrastiveTexts(rows, text, c, prefix),
      matching_ids: textRows(
        text,
        rows.map((row) => row.text),
        c.text.context,
      ),
      other_ids: textRows(
        text,
        rows.map((_, i) => otherRow(rows, i, random).text),
        c.text.context,
      ),
      image_id: groupNumbers(rows),
    }),
  });

const noTarget = -100;

export interface ChatFeeds {
  readonly template: ChatTemplate;
  /** What happens to a conversation longer than a row: "cut" truncates it, "drop" removes its targets. */
  readonly tooLong: string;
  /** Approximate number of conversations packed in a row; 1 disables packing. */
  readonly packed: number;
}

/** The image placeholder and the language model of a conversation. */
export interface ChatSubject {
  readonly image: ImagePlan;
  /** Of a whole image, or of one tile. */
  readonly place: ImagePlace;
  readonly text: Pick<TextConfig, "vocab" | "context">;
}

/** Conversations, with only answers as targets. An image precedes the first question. */
export const conversationData = (subject: ChatSubject, { template, tooLong, packed }: ChatFeeds): StageData =>
  stageData<"conversations">({
    kind: "conversations",
    image: subject.image,
    vocabulary: subject.text.vocab,
    ...(packed > 1 && { perRow: packed }),
    targets: { input: "labels", none: noTarget },
    feeds: (rows, context) => {
      const { place, text } = subject;
      const written = rows.map(({ turns, image, tiles = 1 }) => {
        const shown = { ...place, tokens: tiles * place.tokens };
        const whole = context.written(template, turns, image === undefined ? undefined : shown);
        return fitted(whole, text.context, tooLong, context);
      });
      if (packed > 1) return packedFeeds(written, subject, packed, context);
      return {
        ids: idRows(
          written.map((w) => w.ids),
          text.context,
        ),
        labels: idRows(
          written.map((w) => w.labels),
          text.context,
          noTarget,
        ),
      };
    },
  });

/** Stage 3. */
export const chatData = (c: ChatConfig, feeds: ChatFeeds): StageData =>
  conversationData(
    {
      image: { size: c.vision.image, fit: "pad" },
      place: { id: imageToken, tokens: visualTokenCount(c) },
      text: c.text,
    },
    feeds,
  );

/** Several conversations packed in a row, for `packedStageThreeLoss`; numbers are unique in the batch. */
function packedFeeds(
  written: readonly FittedText[],
  { text, place }: ChatSubject,
  perRow: number,
  { count }: FeedContext,
) {
  const length = text.context;
  const rows = packedRows(
    written.map(({ ids }) => ids.length),
    Math.ceil(written.length / perRow),
    length,
  );
  const packed = new Set(rows.flat());
  for (const [i, { labels }] of written.entries())
    if (!packed.has(i) && labels.some((label) => label !== noTarget))
      count(`conversations that fit in no row of ${length} tokens are skipped (length=${length}, packed=${perRow})`);
  const joined = (of: (text: FittedText, number: number) => readonly number[], fill: number) =>
    idRows(
      rows.map((row) => row.flatMap((i) => of(written[i]!, i))),
      length,
      fill,
    );
  return {
    ids: joined(({ ids }) => ids, 0),
    // The first token of a conversation is no target: it does not follow the previous conversation.
    labels: joined(({ labels }) => labels.map((label, i) => (i === 0 ? noTarget : label)), noTarget),
    conversation: joined(({ ids }, number) => ids.map(() => number), -1),
    position: joined(({ ids }) => ids.map((_, i) => i), 0),
    picture: joined(({ ids }, number) => {
      const first = ids.indexOf(place.id);
      return ids.map((id, i) => (id === place.id ? number * place.tokens + i - first : -1));
    }, -1),
  };
}

/**
 * Best-fit decreasing bin packing: the indices of `lengths` in each of `count` rows, longest first, each where the
 * least room remains.
 */
export function packedRows(lengths: readonly number[], count: number, room: number): readonly (readonly number[])[] {
  const rows = Array.from({ length: count }, () => ({ left: room, members: [] as number[] }));
  const longestFirst = [...lengths.keys()].sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  for (const i of longestFirst) {
    const fitting = rows.filter(({ left }) => left >= lengths[i]!);
    if (fitting.length === 0) continue;
    const tightest = fitting.reduce((best, row) => (row.left < best.left ? row : best));
    tightest.left -= lengths[i]!;
    tightest.members.push(i);
  }
  return rows.map(({ members }) => members.sort((a, b) => a - b));
}

type FittedText = NonNullable<Written>;
type Written = ReturnType<FeedContext["written"]>;

/** Fits a conversation into a row of `length` ids; one left without targets is counted. */
function fitted(written: Written, length: number, tooLong: string, { count, text }: FeedContext): NonNullable<Written> {
  const nothing = { ids: [text.bos], labels: [noTarget] };
  if (!written) {
    count("conversations without an answer have no training targets");
    return nothing;
  }
  const { ids, labels } = written;
  if (ids.length <= length) return written;
  if (tooLong === "drop") {
    count(`conversations of more than ${length} tokens are skipped (length=${length}, tooLong=drop)`);
    return nothing;
  }
  if (labels.slice(0, length).every((label) => label === noTarget)) {
    count(`conversations whose answers begin after token ${length} are skipped (length=${length}, tooLong=cut)`);
    return nothing;
  }
  count(`conversations of more than ${length} tokens are truncated (length=${length}, tooLong=cut)`);
  return { ids: ids.slice(0, length), labels: labels.slice(0, length) };
}

/** Classification: the class of each image. */
export const probeData = (c: ProbeConfig, crops: Crops): StageData =>
  stageData<"labels">({
    kind: "labels",
    image: { ...cropped(c.vision, crops), fit: "crop" },
    classes: c.classes,
    feeds: (rows: readonly LabelSample[]) => ({ label: perRow(rows.map((row) => row.label)) }),
  });

/** The mask value for unlabelled pixels, which have no loss. */
const noClass = 255;

export interface SegmentationFeeds extends Crops {
  /** Whether files number classes from 1, with 0 as unlabelled, as in ADE20K; MMSegmentation's reduce_zero_label. */
  readonly fromOne: boolean;
}

/**
 * Segmentation: the class of every pixel, 255 for unlabelled. Masks are transformed with their images. Throws
 * UsageError for other values.
 */
export const segmentationData = (c: SegmentationConfig, { fromOne, ...crops }: SegmentationFeeds): StageData =>
  stageData<"masks">({
    kind: "masks",
    image: { ...cropped(c.vision, crops), fit: "crop" },
    classes: c.classes,
    feeds: (rows: readonly MaskSample[]) => ({
      label: maskRows(rows, c.vision.image, (value, { image }) => classOf(value, fromOne, c.classes, image)),
    }),
  });

function classOf(value: number, fromOne: boolean, classes: number, image?: string): number {
  const number = fromOne && value !== noClass ? (value + noClass) % (noClass + 1) : value; // 0 becomes 255
  if (number < classes || number === noClass) return number;
  throw new UsageError(
    `${image === undefined ? "a mask" : `the mask of ${image}`} has the class ${value}, but the model has ${classes} classes${fromOne ? " from 1 on" : ""}: change the setting classes or fromOne`,
  );
}
