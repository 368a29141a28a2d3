/** What each stage of the family is fed: pictures, texts as the released loaders write them, labels and masks. */
import {
  bareIds,
  type ChatTemplate,
  type FeedContext,
  hostTensor,
  type ImagePlace,
  type ImagePlan,
  idRows,
  type LabelSample,
  type MaskSample,
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

/** What stands before texts that are compared with images; nothing for bytes, with which small models are trained. */
export const contrastivePrefix = (text?: Pick<TextCodec, "bytes">): string => (text?.bytes ? "" : "summarize:");

const mostWords = 50;

/**
 * A caption as retrieval is evaluated: lower case, the characters . ! " ( ) * # : ; ~ as blanks, single blanks, at most
 * 50 words. BLIP's `pre_caption`, which InternVL's evaluation uses.
 */
export const cleanCaption = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[.!"()*#:;~]/g, " ")
    .trim()
    .split(/\s+/)
    .slice(0, mostWords)
    .join(" ");

/** Settings of how pictures are cut. */
export interface Crops {
  /** The least share of a picture that a random window covers; 1 shows it whole. */
  readonly crop: number;
  /** Probability of a mirrored picture. */
  readonly flip: number;
}

const cropped = ({ image }: Pick<VisionConfig, "image">, { crop, flip }: Crops): ImagePlan => ({
  size: image,
  fit: "squash",
  augmentation: { ...(crop < 1 && { scale: [crop, 1] as const }), flip },
});

/** Stage 1: texts to compare with. */
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
  /** What a caption goes on from: {language} is its language in English (English, where it is not known), {code} as the data has it. */
  readonly prompt: string;
  /** "supplied": half of the rows have another row's text, as in the released code; "mined": the graph finds negatives. */
  readonly negatives: string;
}

/** Stage 2: texts to compare with, texts that fit or not, captions to write. Rows of a batch are of different groups. */
export const generativeData = (c: GenerativeConfig, settings: StageTwoFeeds): StageData =>
  stageData<"pairs">({
    kind: "pairs",
    image: cropped(c.vision, settings),
    vocabulary: c.text.vocab,
    feeds: (rows, { text, random }) => {
      const { context } = c.text;
      const prompts = rows.map(({ language }) => promptIn(settings.prompt, language));
      const isMined = settings.negatives === "mined";
      // The first half, rounded up, has a text that does not fit.
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

/** A language's name in English; English for one that is not known, as the published prompt has it. */
function languageNamed(code: string): string {
  try {
    return (code === "und" ? undefined : languageNames.of(code)) ?? "English";
  } catch {
    return "English"; // no BCP 47 code
  }
}

/** Any other row of the batch: another group, as batches hold no two of one. */
function otherRow(rows: readonly PairSample[], row: number, random: () => number): PairSample {
  if (rows.length < 2) throw new UsageError("a text of another picture is needed: the batch is at least 2");
  return rows[(row + 1 + Math.floor(random() * (rows.length - 1))) % rows.length]!;
}

/** A number for each group: the first row that shows it. */
const groupNumbers = (rows: readonly PairSample[]) =>
  perRow(rows.map(({ group }) => rows.findIndex((other) => other.group === group)));

/** Fine-tuning for retrieval: each picture with its own and with another text. */
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
  /** What is done with a conversation that is longer than a row: "cut" at the end, or "drop", after which it has no targets. */
  readonly tooLong: string;
  /** Conversations in a row, about so many; 1 gives each its own. */
  readonly packed: number;
}

/** What a conversation is about, and the language model that has it. */
export interface ChatSubject {
  readonly image: ImagePlan;
  /** Of a whole picture, or of one tile. */
  readonly place: ImagePlace;
  readonly text: Pick<TextConfig, "vocab" | "context">;
}

/** Conversations, whose answers alone are targets. A picture stands before the first question. */
export const conversationData = (subject: ChatSubject, { template, tooLong, packed }: ChatFeeds): StageData =>
  stageData<"conversations">({
    kind: "conversations",
    image: subject.image,
    vocabulary: subject.text.vocab,
    ...(packed > 1 && { perRow: packed }),
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

/** Several conversations in a row, as `packedStageThreeLoss` reads them; numbers are those of the batch. */
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
      count(`conversations that no row of ${length} tokens has room for are left out (packed=${perRow})`);
  const joined = (of: (text: FittedText, number: number) => readonly number[], fill: number) =>
    idRows(
      rows.map((row) => row.flatMap((i) => of(written[i]!, i))),
      length,
      fill,
    );
  return {
    ids: joined(({ ids }) => ids, 0),
    // What comes first follows nothing, least of all the conversation before it.
    labels: joined(({ labels }) => labels.map((label, i) => (i === 0 ? noTarget : label)), noTarget),
    conversation: joined(({ ids }, number) => ids.map(() => number), -1),
    position: joined(({ ids }) => ids.map((_, i) => i), 0),
    picture: joined(({ ids }, number) => {
      const first = ids.indexOf(place.id);
      return ids.map((id, i) => (id === place.id ? number * place.tokens + i - first : -1));
    }, -1),
  };
}

/** Which of some lengths lie in which of `count` rows, the longest placed first, each where the least room is left over. */
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

/** A conversation in a row of `length` ids; what has no targets there is counted, and teaches nothing. */
function fitted(written: Written, length: number, tooLong: string, { count, text }: FeedContext): NonNullable<Written> {
  const nothing = { ids: [text.bos], labels: [noTarget] };
  if (!written) {
    count("conversations without an answer to a question teach nothing");
    return nothing;
  }
  const { ids, labels } = written;
  if (ids.length <= length) return written;
  if (tooLong === "drop") {
    count(`conversations of more than ${length} tokens are left out (tooLong=drop)`);
    return nothing;
  }
  if (labels.slice(0, length).every((label) => label === noTarget)) {
    count(`conversations whose answers begin after token ${length} are left out`);
    return nothing;
  }
  count(`conversations of more than ${length} tokens are cut there (tooLong=cut)`);
  return { ids: ids.slice(0, length), labels: labels.slice(0, length) };
}

/** Classification: the number of each picture's class. */
export const probeData = (c: ProbeConfig, crops: Crops): StageData =>
  stageData<"labels">({
    kind: "labels",
    image: { ...cropped(c.vision, crops), fit: "crop" },
    classes: c.classes,
    feeds: (rows: readonly LabelSample[]) => ({ label: perRow(rows.map((row) => row.label)) }),
  });

/** The number of masks that is no class, and has no loss. */
const noClass = 255;

export interface SegmentationFeeds extends Crops {
  /** Whether classes count from 1 in the files and 0 is none, as in ADE20K; MMSegmentation's reduce_zero_label. */
  readonly fromOne: boolean;
}

/** Segmentation: the class of every place, 255 for none. Masks go the way of their pictures. Throws UsageError for other numbers. */
export const segmentationData = (c: SegmentationConfig, { fromOne, ...crops }: SegmentationFeeds): StageData =>
  stageData<"masks">({
    kind: "masks",
    image: { ...cropped(c.vision, crops), fit: "crop" },
    classes: c.classes,
    feeds: (rows: readonly MaskSample[]) => {
      const size = c.vision.image;
      const data = new Int32Array(rows.length * size * size);
      for (const [i, { mask }] of rows.entries()) {
        if (mask.length !== size * size)
          throw new UsageError(`a mask has ${mask.length} places where the picture has ${size} × ${size}`);
        for (let at = 0; at < mask.length; at++) data[i * size * size + at] = classOf(mask[at]!, fromOne, c.classes);
      }
      const axes = [
        { name: "batch", size: rows.length },
        { name: "row", size },
        { name: "column", size },
      ];
      return { label: hostTensor("i32", axes, data) };
    },
  });

function classOf(value: number, fromOne: boolean, classes: number): number {
  const number = fromOne && value !== noClass ? (value + noClass) % (noClass + 1) : value; // 0 becomes 255
  if (number < classes || number === noClass) return number;
  throw new UsageError(
    `a mask has the number ${value}, the model ${classes} classes${fromOne ? " from 1 on" : ""}: change "classes" or fromOne with --set`,
  );
}
