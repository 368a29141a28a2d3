/**
 * The modes of `heddle run`: which of a model's graphs serve each, the special tokens and prompts around text, and how
 * images become its input. Commands ask for these, never for a model family.
 */
import type { ChatTemplate, Piece } from "./chat-template.ts";
import type { Config } from "./config.ts";
import type { TextTokens } from "./text-tokens.ts";

/**
 * How an image gets the aspect ratio of the model's input: crop cuts out the centre, squash ignores the ratio, pad adds
 * the mean colour on two sides.
 */
export type PictureFit = "crop" | "squash" | "pad";

/** The modes that take images; classify and retrieve both compare them with texts. */
export const pictureModes = ["features", "classify", "segment", "retrieve", "caption", "chat"] as const;
/** One of `pictureModes`. */
export type PictureMode = (typeof pictureModes)[number];

/** How images become a model's input `pixels` [batch, channel, row, column], whose size is the graph's. */
export interface Preprocessing {
  /** One fit for all modes, or one for each; default "crop". */
  readonly fit?: PictureFit | { readonly [mode in PictureMode]?: PictureFit };
  /** What the image covers before a crop, relative to the input size: 256 / 224 is common. Default 1. */
  readonly margin?: number;
  /** A filter of Pillow; default bicubic. */
  readonly interpolation?: "bilinear" | "bicubic" | "lanczos";
  /** For red, green and blue in [0, 1]: the input is (pixel − mean) / std. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /**
   * The order of the channels of `pixels`; default "rgb". `mean` and `std` are those of red, green, blue either way.
   */
  readonly channelOrder?: "rgb" | "bgr";
  /** How the image of a chat is cut into tiles, each an image of `pixels`, by the settings; default no tiling. */
  readonly tiles?: (config: Config) => TileLimits;
}

/** Limits on the tiles of an image; with `thumbnail`, the whole image, squashed, follows if there are several. */
export interface TileLimits {
  readonly least: number;
  readonly most: number;
  readonly thumbnail: boolean;
}

/** The values that pixels are normalized with, without the geometry. */
export type PixelValues = Pick<Preprocessing, "mean" | "std" | "channelOrder">;

/** These fields of a model's preprocessing, of a file's or of a stage's, without others that they may have. */
export const pixelValues = ({ mean, std, channelOrder }: PixelValues): PixelValues => ({
  mean,
  std,
  ...(channelOrder && { channelOrder }),
});

/** ImageNet's mean and std, which many encoders were trained with, InternVL's among them. */
export const imagenetPreprocessing: Preprocessing = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/**
 * The modes that a model serves. Graphs are named as in its `graphs`; where a mode may leave its graph out, it is the
 * model's main one.
 */
export interface ModelModes<C extends Config = Config> {
  readonly features?: FeaturesMode<C>;
  readonly classify?: ClassifyMode;
  readonly segment?: SegmentMode<C>;
  readonly compare?: CompareMode;
  readonly caption?: CaptionMode<C>;
  readonly chat?: ChatMode<C>;
  readonly generate?: GenerateMode<C>;
}

/**
 * `heddle run ... features`: a graph with outputs `block.0`, `block.1` ... [batch, token, ...] or [batch, row, column,
 * ...].
 */
export interface FeaturesMode<C extends Config = Config> {
  readonly graph: string;
  /** Tokens before those of the image's grid, such as a class token; default none. */
  readonly before?: number | ((config: C) => number);
  /** Rows and columns of the grid; default those in the graph that make up the tokens, or of square patches. */
  readonly grid?: (config: C) => readonly [rows: number, columns: number];
}

/** `heddle run ... classify` by a model trained on fixed classes; their names are `id2label` of config.json. */
export interface ClassifyMode {
  readonly graph?: string;
  /** The graph's output with logits [batch, class], by name. */
  readonly output: string;
}

/**
 * `heddle run ... segment`: the class of every pixel, by sliding a window of the input's size over the image, resized
 * in proportion to cover one; or, if the preprocessing squashes images and `stride` is not given, of the whole image.
 */
export interface SegmentMode<C extends Config = Config> {
  readonly graph?: string;
  /** The graph's output with logits [batch, class, row, column], axes in any order, on any grid, by name. */
  readonly output: string;
  /** Stride of the windows, as a fraction of their sides in (0, 1]; default 2/3. */
  readonly stride?: number;
  /** The image's sides are rounded up to a multiple of this: the patch size, in some published protocols. Default 1. */
  readonly multiple?: number | ((config: C) => number);
  /**
   * The annotation value of the first class: 1 where 0 means unlabelled, as in ADE20K. Default 1 if the checkpoint's
   * preprocessor_config.json has `do_reduce_labels`, else 0.
   */
  readonly firstClass?: 0 | 1;
}

/**
 * `heddle run ... classify`, by texts, and `retrieve`: the graph's outputs `image` and `text`, unit vectors [batch,
 * feature] each. For classes also `scale`, which multiplies cosines, and optionally `bias`, which is added.
 */
export interface CompareMode {
  readonly graph?: string;
  /** Prefix of every text, except with a byte tokenizer. Default none. */
  readonly prefix?: string;
  /** Applied to texts before retrieval, except with a byte tokenizer. Default none. */
  readonly clean?: (text: string) => string;
  /**
   * Special tokens of a text: "around" puts BOS before and EOS after it, "template" follows the tokenizer's own
   * template. Default "around".
   */
  readonly special?: "around" | "template";
  /** The id that pads texts to the graph's length; default 0. */
  readonly pad?: number;
  /**
   * "exclusive": probabilities sum to 1 over the classes (softmax); "independent": each class has its own (sigmoid).
   * Default "exclusive".
   */
  readonly classes?: "exclusive" | "independent";
}

/**
 * A decoder: graphs with the input and output names of ONNX decoders (`input_ids`, `attention_mask`, `position_ids`,
 * `past_key_values.N.key`, `present.N.key`, `logits`).
 */
export interface WritingGraphs<C extends Config> {
  /** The graph that decodes with a KV cache. */
  readonly step: string;
  /** Maximum tokens of a text of the decoder: the model's positions, or the length it was trained with. */
  readonly limit: number | ((config: C) => number);
  /** Special tokens, where the checkpoint has no generation_config.json. */
  readonly tokens?: TextTokens | ((config: C) => TextTokens);
}

/** A decoder that may attend to a source by cross-attention. */
export interface SourceGraphs<C extends Config> extends WritingGraphs<C> {
  /**
   * The encoder graph of a model whose step attends to a source, an image or a text, by cross-attention: inputs
   * `pixels` or `input_ids` and `attention_mask`; outputs `present.N.encoder.key` and `.value`, which the step takes as
   * `past_key_values.N.encoder.key` and `.value`.
   */
  readonly encode?: string;
}

/**
 * `heddle run ... caption`: generation from an image, in one of two ways. `begin` is a prefill graph, with inputs
 * `pixels` and `input_ids`: a prompt that contains the image. `encode` is an encoder graph, with the input `pixels`:
 * the decoder reads the prompt, after its start token, and attends to the image.
 */
export interface CaptionMode<C extends Config = Config> extends SourceGraphs<C> {
  readonly begin?: string;
  /** The prompt that the caption continues. */
  readonly prompt?: string;
  /**
   * With `encode`: whether the decoder reads a prompt that is not empty alone, as Donut its task, rather than after its
   * start token; default false.
   */
  readonly promptStarts?: boolean;
  /** Defaults where the command does not say: beam width and token limits; otherwise greedy, up to 30 tokens. */
  readonly beams?: number;
  readonly minTokens?: number;
  readonly maxTokens?: number;
  /**
   * For models that take several images in a text. `prompt` is then what stands between an image and its caption, and
   * few-shot examples may precede the image to caption.
   */
  readonly pictures?: (config: C) => InterleavedPictures;
  /** Ids that end a caption, in addition to the tokenizer's EOS. */
  readonly stops?: (config: C) => readonly number[];
}

/** Ids of texts with interleaved images. */
export interface InterleavedPictures {
  /** The image placeholder: one for each image, however many tokens that becomes. */
  readonly id: number;
  /** Ends the text about an image. */
  readonly end: number;
}

/**
 * `heddle run ... chat`: turns written by a template; `begin` is the prefill graph with an image in the first turn, at
 * the graph's `runs`.
 */
export interface ChatMode<C extends Config = Config> extends Omit<WritingGraphs<C>, "limit"> {
  readonly begin?: string;
  /** The first is the default; each has the token limit of its model. */
  readonly templates: readonly ChatTemplate[] | ((config: C) => readonly ChatTemplate[]);
}

/**
 * `heddle run ... generate`: continues a text, or, with `encode`, writes a text from a source text, which is encoded
 * with the special tokens of the tokenizer's own template.
 */
export interface GenerateMode<C extends Config = Config> extends SourceGraphs<C> {
  /** Prepended to a prompt; default BOS, if the tokenizer has one. Not for a source. */
  readonly begin?: readonly Piece[];
}
