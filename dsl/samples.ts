/** What stages are fed: kinds of samples, the pictures beside them, and how texts become ids. Data rooms meet these types. */
import { type HostTensor, hostTensor, UsageError } from "../compiler/index.ts";
import type { ChatTemplate, ImagePlace, WrittenConversation } from "./chat-template.ts";
import type { TileLimits } from "./modes.ts";

/** A text of a picture, and all texts that it has by language. */
export interface PairSample {
  /** Samples of one group show the same thing; no batch holds two. */
  readonly group: string;
  /** BCP 47; "und" where it is not known. */
  readonly language: string;
  readonly text: string;
}

/** What one side of a conversation says. */
export interface ConversationTurn {
  readonly role: "system" | "user" | "assistant";
  readonly text: string;
}

/** Turns, with a picture or without. `<image>` in a user's text marks its place, which is before the first question. */
export interface ConversationSample {
  readonly id: string;
  readonly turns: readonly ConversationTurn[];
  /** Undefined where there is no picture. */
  readonly image?: unknown;
  /** How many pictures of `pixels` it became; undefined where pictures are not cut into tiles. */
  readonly tiles?: number;
}

/** The class of a picture. */
export interface LabelSample {
  /** From 0. */
  readonly label: number;
  readonly name: string;
}

/** The class of every place of a picture. */
export interface MaskSample {
  /** Class numbers of the picture's places [row, column] as it is shown to the model; 255 is no class. */
  readonly mask: ArrayLike<number>;
}

/** A row of ids of texts, one after the other; the last row of data that is read once may have fewer than others. */
export interface TextRow {
  readonly ids: readonly number[];
}

/** What lies beside a picture, by the kind of sample. */
export interface Samples {
  readonly pairs: PairSample;
  readonly conversations: ConversationSample;
  readonly labels: LabelSample;
  readonly masks: MaskSample;
  readonly texts: TextRow;
}

/** What lies beside a picture: "pairs", "conversations", "labels" or "masks"; "texts" have none. */
export type SampleKind = keyof Samples;
/** A sample of a kind. */
export type SampleOf<K extends SampleKind> = Samples[K];

/** How a conversation's picture is cut into tiles, and how many of `pixels` are a sample's own, those it leaves blank included. */
export interface TilePlan extends TileLimits {
  readonly room: number;
}

/** Tiles with room for all that a picture may become. */
export const tilePlan = (limits: TileLimits): TilePlan => ({
  ...limits,
  room: limits.most + (limits.thumbnail && limits.most > 1 ? 1 : 0),
});

/** How pictures become the input `pixels`: f32 [batch, channel, row, column]. */
export interface ImagePlan {
  /** Side of the square in pixels. */
  readonly size: number;
  /** What is not square is cut, distorted, or given borders. */
  readonly fit: "crop" | "squash" | "pad";
  /** What the short side of a picture becomes before the centre is cut out; default `size`. Not of masks. */
  readonly short?: number;
  /** Default bicubic. */
  readonly interpolation?: "bilinear" | "bicubic" | "lanczos";
  /** Of pixels in [0, 1]; default the model's, or ImageNet's. */
  readonly normalization?: {
    readonly mean: readonly [number, number, number];
    readonly std: readonly [number, number, number];
  };
  /** Cut into as many squares of `size` as its shape and size are worth, whatever `fit` says; of conversations, not varied. */
  readonly tiles?: TilePlan;
  /** How views vary; what is left out does not. */
  readonly augmentation?: {
    /** Share of the area that a random window covers. */
    readonly scale?: readonly [number, number];
    /** Width over height of the window. */
    readonly ratio?: readonly [number, number];
    /** Probability of a mirrored view. */
    readonly flip?: number;
  };
}

/** What turns texts into ids. */
export interface TextCodec {
  readonly vocabularySize: number;
  readonly pad: number;
  readonly bos: number;
  readonly eos: number;
  /** BOS, the text, EOS: at most `maxLength` ids; what does not fit is cut from the text. */
  readonly encode: (text: string, maxLength: number) => readonly number[];
  /** True for bytes, which have no conventions of their own: texts get no prefix. */
  readonly bytes?: boolean;
}

/** The ids of a text without BOS and EOS. */
export const bareIds = (text: TextCodec, words: string): readonly number[] =>
  text.encode(words, Number.MAX_SAFE_INTEGER).slice(1, -1);

/** Texts as rows of exactly `length` ids, padded with 0, which models take for no token: i32 [batch, token]. */
export const textRows = (text: TextCodec, texts: readonly string[], length: number): HostTensor =>
  idRows(
    texts.map((words) => text.encode(words, length)),
    length,
  );

/** Rows of ids, each followed by `fill` up to `length`: i32 [batch, token]. Throws UsageError for a row that is longer. */
export function idRows(rows: readonly (readonly number[])[], length: number, fill = 0): HostTensor {
  const data = new Int32Array(rows.length * length).fill(fill);
  for (const [i, row] of rows.entries()) {
    if (row.length > length) throw new UsageError(`row ${i} has ${row.length} ids; there is room for ${length}`);
    const wrong = row.find((id) => id !== (id | 0));
    if (wrong !== undefined) throw new UsageError(`row ${i} has the id ${wrong}, which is no whole number of 32 bits`);
    data.set(row, i * length);
  }
  const axes = [
    { name: "batch", size: rows.length },
    { name: "token", size: length },
  ];
  return hostTensor("i32", axes, data);
}

/** One whole number for each row: i32 [batch]. Throws UsageError for a value that i32 does not hold. */
export function perRow(values: readonly number[]): HostTensor {
  const wrong = values.findIndex((value) => value !== (value | 0));
  if (wrong >= 0) throw new UsageError(`row ${wrong} is given ${values[wrong]}, which is no whole number of 32 bits`);
  return hostTensor("i32", [{ name: "batch", size: values.length }], Int32Array.from(values));
}

/** What feeds are made with. */
export interface FeedContext {
  /** A conversation's ids and labels by a template; undefined where no question has an answer. */
  readonly written: (
    template: ChatTemplate,
    turns: readonly ConversationTurn[],
    image?: ImagePlace,
  ) => WrittenConversation | undefined;
  /** Throws UsageError where the run has no tokenizer. */
  readonly text: TextCodec;
  /** In [0, 1), of a stream that is the batch's own. */
  readonly random: () => number;
  /** Says that something was done to a sample that its owner may not expect: told once, and counted. */
  readonly count: (what: string) => void;
}

/** Inputs of a step by name. */
export type Feeds = Readonly<Record<string, HostTensor>>;

/** What a stage is fed. */
export interface StageData<K extends SampleKind = SampleKind> {
  readonly kind: K;
  /** Of all kinds but texts, which need it. */
  readonly image?: ImagePlan;
  /** Ids of a row, of texts, which need it: the last of a row is the first of the next. */
  readonly length?: number;
  /** Ids that the model has, for stages that read texts. */
  readonly vocabulary?: number;
  /** Numbers that labels and masks may be, 255 of masks besides; for stages that read these. */
  readonly classes?: number;
  /** Filters that samples pass beside those of the command, as `--filter` takes them. */
  readonly filters?: readonly string[];
  /** Samples that lie in one row of the step's inputs, whose `pixels` are so many times as many; default 1. */
  readonly perRow?: number;
  /** Inputs of the step by name, but for `pixels`, from the rows of one batch. */
  readonly feeds: (rows: readonly SampleOf<K>[], context: FeedContext) => Feeds;
}

/** What a stage is fed, whatever the kind: rows are checked when they are read, so that records of all kinds are of one type. */
export const stageData = <K extends SampleKind>(data: StageData<K>): StageData => data as unknown as StageData;
