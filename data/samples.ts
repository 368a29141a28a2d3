/** Training samples by kind: what a stage declares and what `openData` yields. */
import type { ImageSource } from "./images.ts";
import type { Turn } from "./instructions.ts";

/** An image with one text drawn from its texts in one language. */
export interface PairSample {
  /** Samples of the same group show the same thing: a batch never contains two of them. */
  readonly group: string;
  readonly image: string;
  readonly language: string;
  readonly text: string;
  /** All texts of that language, the main one first. */
  readonly texts: readonly string[];
}

/** A conversation, possibly about an image. */
export interface ConversationSample {
  readonly id: string;
  readonly image?: string;
  /** How many of the batch's images belong to it, with tiling. */
  readonly tiles?: number;
  readonly turns: readonly Turn[];
}

/** An image with its class. */
export interface LabelSample {
  readonly image: string;
  readonly label: number;
  readonly name: string;
}

/**
 * An image with the class of each pixel: `mask` [row, column], aligned with the rendered image; 255 outside the image.
 */
export interface MaskSample {
  readonly image: string;
  readonly mask: Int32Array;
}

/** A text without an image, or a piece of one. */
export interface TextSample {
  readonly id: string;
  readonly text: string;
  /** Whether the text ends here; false for all but the last piece of a long file. */
  readonly ends: boolean;
}

/**
 * A JSON object whose fields become inputs, with an image where the stage reads images. A field that names a .npy file
 * is its array.
 */
export interface RecordSample {
  /** Where it is stored: "boxes.jsonl:12" is a line of a list. */
  readonly id: string;
  readonly image?: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface SamplesByKind {
  readonly pairs: PairSample;
  readonly conversations: ConversationSample;
  readonly labels: LabelSample;
  readonly masks: MaskSample;
  readonly texts: TextSample;
  readonly records: RecordSample;
}

export type SampleKind = keyof SamplesByKind;
export const sampleKinds: readonly SampleKind[] = ["pairs", "conversations", "labels", "masks", "texts", "records"];
export type SampleOf<K extends SampleKind> = SamplesByKind[K];

/** A sample as read, before anything is drawn or decoded; its fields depend on the kind. */
export interface RawSample {
  /** Its name in messages. */
  readonly name: string;
  readonly group: string;
  readonly image?: ImageSource;
  readonly mask?: ImageSource;
  /** Texts by language (BCP 47, "und" if unknown); the first of a language is its main text. */
  readonly texts?: Readonly<Record<string, readonly string[]>>;
  readonly id?: string;
  readonly turns?: readonly Turn[];
  /** Its class's name. */
  readonly className?: string;
  /** False for a piece of a text that is not the last. */
  readonly ends?: boolean;
  /** Its class's number, if it has no name. */
  readonly label?: number;
  /** The fields of a record. */
  readonly values?: Readonly<Record<string, unknown>>;
  /** Further fields of its JSON: scores, sizes, URLs. */
  readonly fields: Readonly<Record<string, unknown>>;
}
