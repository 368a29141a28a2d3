/**
 * What a model is used for: which of its graphs serve the modes of `heddle run`, the words around texts, and how pictures
 * become its input. Commands ask for these, never for a family.
 */
import type { ChatTemplate, Piece } from "./chat-template.ts";
import type { Config } from "./config.ts";

/** How any picture becomes a square; a crop cuts the centre out, squash keeps no aspect ratio, pad adds to the short side. */
export type PictureFit = "crop" | "squash" | "pad";

/** The modes that see pictures; classifying and retrieving both compare them with texts. */
export const pictureModes = ["features", "classify", "segment", "retrieve", "caption", "chat"] as const;
/** One of them. */
export type PictureMode = (typeof pictureModes)[number];

/** How pictures become a model's input `pixels` [batch, channel, row, column]; its size is the graph's. */
export interface Preprocessing {
  /** One for all modes, or the fit of each; "crop" where it is not said. */
  readonly fit?: PictureFit | { readonly [mode in PictureMode]?: PictureFit };
  /** What the short side becomes before a crop, over the picture's size: 256 / 224 in much of the field. Default 1. */
  readonly margin?: number;
  /** Of Pillow's filters; default bicubic. */
  readonly interpolation?: "bilinear" | "bicubic" | "lanczos";
  /** Of red, green and blue in [0, 1]: a model sees (pixel - mean) / std. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** How a chat's picture is cut into tiles, each a picture of `pixels`, by the settings; default it is not. */
  readonly tiles?: (config: Config) => TileLimits;
}

/** How many tiles a picture may be cut into, and whether the whole picture, squashed, comes after several. */
export interface TileLimits {
  readonly least: number;
  readonly most: number;
  readonly thumbnail: boolean;
}

/** What many encoders were trained with, InternVL's among them. */
export const imagenetPreprocessing: Preprocessing = {
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
};

/** The modes that a model serves. Graphs are named as `graphs` has them. */
export interface ModelModes<C extends Config = Config> {
  readonly features?: FeaturesMode<C>;
  readonly classify?: ClassifyMode;
  readonly segment?: SegmentMode<C>;
  readonly compare?: CompareMode;
  readonly caption?: CaptionMode<C>;
  readonly chat?: ChatMode<C>;
  readonly generate?: GenerateMode<C>;
}

/** `heddle run ... features`: a graph with outputs `block.0`, `block.1` ... [batch, token, ...] or [batch, row, column, ...]. */
export interface FeaturesMode<C extends Config = Config> {
  readonly graph: string;
  /** Tokens before those of the picture's square grid, such as a class token; default none. */
  readonly before?: number | ((config: C) => number);
}

/** `heddle run ... classify` by a model that was trained for certain classes; names are those of `id2label` in config.json. */
export interface ClassifyMode {
  /** Scores [batch, class] that the softmax of is what a class is worth: an output of the model itself, by name. */
  readonly output: string;
}

/** `heddle run ... segment`: the class of every place of a picture, which is seen window by window, its short side whole. */
export interface SegmentMode<C extends Config = Config> {
  /** Scores [batch, class, row, column], in any order and of any grid: an output of the model itself, by name. */
  readonly output: string;
  /** How far windows lie apart, as a share of their side in (0, 1]; default 2/3. */
  readonly stride?: number;
  /** What a picture's sides are made a multiple of, upwards: a patch, of some published protocols. Default 1. */
  readonly multiple?: number | ((config: C) => number);
  /** The number that annotations have for the first class; 1 where 0 is no class, as in ADE20K. Default 0. */
  readonly firstClass?: 0 | 1;
}

/**
 * `heddle run ... classify`, by texts, and `retrieve`: the model's own outputs `image` and `text`, unit vectors [batch, feature] each, and
 * for classes `scale`, which cosines are multiplied by, and `bias`, which is added, if there is one.
 */
export interface CompareMode {
  /** What stands before every text, unless texts are bytes. Default nothing. */
  readonly prefix?: string;
  /** What texts go through before they are retrieved or looked for, unless they are bytes. Default nothing. */
  readonly clean?: (text: string) => string;
  /**
   * The special tokens of a text: BOS before and EOS after it, or what the tokenizer's own template puts there. Default the
   * first.
   */
  readonly special?: "around" | "template";
  /** The id after a text's end, up to the number that the graph takes; default 0. */
  readonly pad?: number;
  /** Whether a picture is of one class, whose probabilities add up to 1, or each class has one by itself. Default the first. */
  readonly classes?: "exclusive" | "independent";
}

/**
 * A decoder: graphs with the names that ONNX decoders have (`input_ids`, `attention_mask`, `position_ids`,
 * `past_key_values.N.key`, `present.N.key`, `logits`).
 */
export interface WritingGraphs<C extends Config> {
  /** The graph that goes on after what is remembered. */
  readonly step: string;
  /** The most tokens that a text may have: the model's positions, or those it was trained with. */
  readonly limit: number | ((config: C) => number);
}

/** `heddle run ... caption`: a picture begins a text, through a graph with inputs `pixels` and `input_ids`. */
export interface CaptionMode<C extends Config = Config> extends WritingGraphs<C> {
  readonly begin: string;
  /** What the words go on from. */
  readonly prompt?: string;
  /** How a caption is written where the command does not say: beams, and tokens; default greedily and up to 30. */
  readonly beams?: number;
  readonly minTokens?: number;
  readonly maxTokens?: number;
  /**
   * How a text shows several pictures, where it may: the id that stands for one, and the one that ends what is said of it. The
   * prompt is then what stands between a picture and its words, and examples may come before the picture that is put into words.
   */
  readonly pictures?: (config: C) => InterleavedPictures;
  /** Ids that end a caption, besides the tokenizer's EOS. */
  readonly stops?: (config: C) => readonly number[];
}

/** Ids of texts with pictures between their words. */
export interface InterleavedPictures {
  /** Stands for a picture: once, however many tokens it becomes. */
  readonly id: number;
  /** Ends what is said of a picture. */
  readonly end: number;
}

/** `heddle run ... chat`: turns by a template; `begin` puts a picture in the first, where the graph's `runs` say. */
export interface ChatMode<C extends Config = Config> extends Omit<WritingGraphs<C>, "limit"> {
  readonly begin?: string;
  /** The first is taken where the command names none; each has the limit of its model. */
  readonly templates: readonly ChatTemplate[] | ((config: C) => readonly ChatTemplate[]);
}

/** `heddle run ... generate`: a text goes on. */
export interface GenerateMode<C extends Config = Config> extends WritingGraphs<C> {
  /** What stands before a prompt; default BOS, where the tokenizer has one. */
  readonly begin?: readonly Piece[];
}
