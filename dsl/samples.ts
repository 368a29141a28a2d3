/**
 * Training data as stages see it: kinds of samples, image preprocessing, and tokenization. Data loaders produce these
 * types.
 */
import {
  type HostTensor,
  hostTensor,
  type ImageSize,
  sidesOf,
  type TensorType,
  UsageError,
} from "../compiler/index.ts";
import type { ChatTemplate, ImagePlace, WrittenConversation } from "./chat-template.ts";
import type { PixelValues, TileLimits } from "./modes.ts";
import type { Paddings } from "./padding.ts";

/** An image's caption. */
export interface PairSample {
  /** Samples of one group show the same image; a batch holds at most one of them. */
  readonly group: string;
  /** BCP 47 language tag; "und" if unknown. */
  readonly language: string;
  readonly text: string;
}

/** One turn of a conversation. */
export interface ConversationTurn {
  readonly role: "system" | "user" | "assistant";
  readonly text: string;
}

/**
 * A conversation, with or without an image. `<image>` in a user's text marks its place, which is before the first
 * question.
 */
export interface ConversationSample {
  readonly id: string;
  readonly turns: readonly ConversationTurn[];
  /** Undefined if there is no image. */
  readonly image?: unknown;
  /** The number of tiles in `pixels` that the image became; undefined without tiling. */
  readonly tiles?: number;
}

/** The class of an image. */
export interface LabelSample {
  /** From 0. */
  readonly label: number;
  readonly name: string;
}

/** The class of every pixel of an image. */
export interface MaskSample {
  /** The image's name, for messages. */
  readonly image?: string;
  /** Class numbers [row, column] of the image as shown to the model; 255 is unlabelled. */
  readonly mask: ArrayLike<number>;
}

/** A row of packed token ids of texts; when data is read only once, the last row may be shorter. */
export interface TextRow {
  readonly ids: readonly number[];
}

/** An array that a field of a record names. */
export interface NumericArray {
  readonly shape: readonly number[];
  /** Elements between neighbours along each dimension. */
  readonly strides: readonly number[];
  /** A typed array of numbers. */
  readonly values: ArrayLike<number>;
}

/** A JSON object, whose fields become inputs; a field that names a .npy file is a NumericArray. */
export interface RecordSample {
  /** Where it is stored, for messages: "boxes.jsonl:12" is a line of a list. */
  readonly id: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

/** The type of a sample, by kind: what accompanies an image. */
export interface Samples {
  readonly pairs: PairSample;
  readonly conversations: ConversationSample;
  readonly labels: LabelSample;
  readonly masks: MaskSample;
  readonly texts: TextRow;
  readonly records: RecordSample;
}

/**
 * The kind of sample: "pairs", "conversations", "labels" or "masks" accompany an image; "texts" have none, and
 * "records" have one if the stage declares `image`.
 */
export type SampleKind = keyof Samples;
/** The sample type of a kind. */
export type SampleOf<K extends SampleKind> = Samples[K];

/**
 * How a conversation's image is cut into tiles; `room` is the number of tile slots that each sample has in `pixels`,
 * unused ones included.
 */
export interface TilePlan extends TileLimits {
  readonly room: number;
}

/** The tile limits with room for the most tiles that an image may become. */
export const tilePlan = (limits: TileLimits): TilePlan => ({
  ...limits,
  room: limits.most + (limits.thumbnail && limits.most > 1 ? 1 : 0),
});

/** How images become the input `pixels`: f32 [batch, channel, row, column]. */
export interface ImagePlan {
  /** [height, width] in pixels, or one number for a square. */
  readonly size: ImageSize;
  /** How an image of another aspect ratio gets this size. */
  readonly fit: "crop" | "squash" | "pad";
  /** The colour of `pad`, 0 to 255; default the mean of `normalization`. */
  readonly fill?: readonly [number, number, number];
  /**
   * What the image covers, in proportion, before the centre crop: of a number, the short side gets that length. Default
   * `size`. Ignored for masks.
   */
  readonly cover?: ImageSize;
  /** With `crop`, the image is resized to exactly `cover` first, ignoring the aspect ratio. */
  readonly stretched?: boolean;
  /** Rounding of a crop's centre between two pixels: default to even, as in torchvision; down, as in transformers. */
  readonly centre?: "even" | "lower";
  /** Whether `pad` pads before it resizes, as LLaVA's processor, or after, as Donut's. Default before. */
  readonly padding?: "before" | "after";
  /** Default bicubic. */
  readonly interpolation?: "bilinear" | "bicubic" | "lanczos";
  /** Mean and std of pixels in [0, 1], and the order of channels; default the model's, or ImageNet's in "rgb". */
  readonly normalization?: PixelValues;
  /**
   * Dynamic tiling: cut into squares of `size`, which must be one, as many as suit the image's shape and size, whatever
   * `fit` is; for conversations only, without augmentation.
   */
  readonly tiles?: TilePlan;
  /** Augmentation; a field that is left out is off. */
  readonly augmentation?: {
    /** Range of the random crop's area, as a fraction of the image. */
    readonly scale?: readonly [number, number];
    /** Range of the crop's aspect ratio, width over height, whatever that of `size` is. Default [3/4, 4/3]. */
    readonly ratio?: readonly [number, number];
    /** Probability of a horizontal flip. */
    readonly flip?: number;
  };
}

/** A tokenizer, as data loading uses it. */
export interface TextCodec {
  readonly vocabularySize: number;
  readonly pad: number;
  readonly bos: number;
  readonly eos: number;
  /** BOS, the text, EOS: at most `maxLength` ids, truncating the text. */
  readonly encode: (text: string, maxLength: number) => readonly number[];
  /** True for the byte tokenizer, which has no conventions of its own: texts get no prefix. */
  readonly bytes?: boolean;
}

/** The ids of a text without BOS and EOS. */
export const bareIds = (text: TextCodec, words: string): readonly number[] =>
  text.encode(words, Number.MAX_SAFE_INTEGER).slice(1, -1);

/** Texts as rows of exactly `length` ids, padded with 0, which models ignore: i32 [batch, token]. */
export const textRows = (text: TextCodec, texts: readonly string[], length: number): HostTensor =>
  idRows(
    texts.map((words) => text.encode(words, length)),
    length,
  );

/**
 * Rows of ids, each padded with `fill` to `length`: i32 [batch, token]. Throws UsageError for a longer row, and for an
 * id that does not fit i32.
 */
export function idRows(rows: readonly (readonly number[])[], length: number, fill = 0): HostTensor {
  const data = new Int32Array(rows.length * length).fill(fill);
  for (const [i, row] of rows.entries()) {
    if (row.length > length) throw new UsageError(`row ${i} has ${row.length} ids; the limit is ${length}`);
    const wrong = row.find((id) => id !== (id | 0));
    if (wrong !== undefined) throw new UsageError(`row ${i} has the id ${wrong}; expected a 32-bit integer`);
    data.set(row, i * length);
  }
  const axes = [
    { name: "batch", size: rows.length },
    { name: "token", size: length },
  ];
  return hostTensor("i32", axes, data);
}

/** One integer for each row: i32 [batch]. Throws UsageError for a value that does not fit i32. */
export function perRow(values: readonly number[]): HostTensor {
  const wrong = values.findIndex((value) => value !== (value | 0));
  if (wrong >= 0) throw new UsageError(`row ${wrong} is ${values[wrong]}; expected a 32-bit integer`);
  return hostTensor("i32", [{ name: "batch", size: values.length }], Int32Array.from(values));
}

/**
 * The masks of samples: i32 [batch, row, column], of the size of the stage's images. `classOf` gives the class of a
 * value in the files; by default the value is the class, and 255 is no class. Where 0 is none, as in ADE20K, it is
 * `(value) => (value + 255) % 256`. Throws UsageError for masks of another size.
 */
export function maskRows(
  samples: readonly MaskSample[],
  size: ImageSize,
  classOf: (value: number, sample: MaskSample) => number = (value) => value,
): HostTensor {
  const { width, height } = sidesOf(size);
  const data = new Int32Array(samples.length * width * height);
  for (const [i, sample] of samples.entries()) {
    const { mask, image } = sample;
    if (mask.length !== width * height)
      throw new UsageError(
        `${image === undefined ? "a mask" : `the mask of ${image}`} has ${mask.length} pixels, but the image has ${height} × ${width}`,
      );
    for (let at = 0; at < mask.length; at += 1) data[i * width * height + at] = classOf(mask[at]!, sample);
  }
  const axes = Object.entries({ batch: samples.length, row: height, column: width });
  return hostTensor(
    "i32",
    axes.map(([name, length]) => ({ name, size: length })),
    data,
  );
}

/** What `feeds` can use. */
export interface FeedContext {
  /** Token ids and labels of a conversation by a template; undefined if no question has an answer. */
  readonly written: (
    template: ChatTemplate,
    turns: readonly ConversationTurn[],
    image?: ImagePlace,
  ) => WrittenConversation | undefined;
  /** Throws UsageError where the run has no tokenizer. */
  readonly text: TextCodec;
  /** The types of the inputs to build, by name; the axis "batch" may be symbolic, all others have sizes. */
  readonly inputs: Readonly<Record<string, TensorType>>;
  /** Uniform in [0, 1), from the batch's own stream. */
  readonly random: () => number;
  /** Counts an unexpected change to a sample, such as truncation; each kind is reported once. */
  readonly count: (what: string) => void;
}

/** Inputs of a step, by name. */
export type Feeds = Readonly<Record<string, HostTensor>>;

/** An input whose values are targets of the loss. */
export interface TargetInput {
  readonly input: string;
  /** The value of a position without a target, such as -100. */
  readonly none: number;
}

/** The data that a stage trains on. */
export interface StageData<K extends SampleKind = SampleKind> {
  readonly kind: K;
  /** Image preprocessing; required by all kinds but texts, which have none, and records, which may have none. */
  readonly image?: ImagePlan;
  /** Ids per row of texts, which require it. Consecutive rows overlap by one id. */
  readonly length?: number;
  /** Vocabulary size of the model, for stages that read text. */
  readonly vocabulary?: number;
  /** The number of classes of labels and masks, for stages that read these; masks also use 255. */
  readonly classes?: number;
  /** Filters applied in addition to those of the command, in the syntax of `--filter`. */
  readonly filters?: readonly string[];
  /** Samples packed into one row of the step's inputs, with that many times the images in `pixels`; default 1. */
  readonly perRow?: number;
  /** The input that holds the targets, if samples may lack them: a run that begins without any is then an error. */
  readonly targets?: TargetInput;
  /** For records: which inputs a record may fill in part, and with what the rest is filled. */
  readonly padding?: Paddings;
  /**
   * Builds the inputs of the step from the rows of one batch, except `pixels` where the stage declares `image`. Records
   * need none: their fields have the names of the inputs (`recordFeeds`).
   */
  readonly feeds: (rows: readonly SampleOf<K>[], context: FeedContext) => Feeds;
}
