/** The samples that training reads, by kind: what a stage's record asks for and what `openData` gives. */
import type { ImageSource } from "./images.ts";
import type { Turn } from "./instructions.ts";

/** A picture with one text drawn of its texts of one language. */
export interface PairSample {
  /** Samples of one group show the same thing: no batch holds two of them. */
  readonly group: string;
  readonly image: string;
  readonly language: string;
  readonly text: string;
  /** All texts of that language, the main one first. */
  readonly texts: readonly string[];
}

/** A conversation, about a picture where it has one. */
export interface ConversationSample {
  readonly id: string;
  readonly image?: string;
  /** How many of the batch's pictures are its own, where pictures are cut into tiles. */
  readonly tiles?: number;
  readonly turns: readonly Turn[];
}

/** A picture of one class. */
export interface LabelSample {
  readonly image: string;
  readonly label: number;
  readonly name: string;
}

/** A picture with the class of each of its pixels: `mask` [row, column], as the picture is shown; 255 beside the picture. */
export interface MaskSample {
  readonly image: string;
  readonly mask: Int32Array;
}

/** A text without a picture, or a piece of one. */
export interface TextSample {
  readonly id: string;
  readonly text: string;
  /** Whether the text ends here; pieces of long files before the last do not. */
  readonly ends: boolean;
}

export interface SamplesByKind {
  readonly pairs: PairSample;
  readonly conversations: ConversationSample;
  readonly labels: LabelSample;
  readonly masks: MaskSample;
  readonly texts: TextSample;
}

export type SampleKind = keyof SamplesByKind;
export const sampleKinds: readonly SampleKind[] = ["pairs", "conversations", "labels", "masks", "texts"];
export type SampleOf<K extends SampleKind> = SamplesByKind[K];

/** A sample as it was read, before anything is drawn or decoded; which fields are there follows from its kind. */
export interface RawSample {
  /** What messages call it. */
  readonly name: string;
  readonly group: string;
  readonly image?: ImageSource;
  readonly mask?: ImageSource;
  /** By language (BCP 47, "und" where it is not known); the first of a language is its main text. */
  readonly texts?: Readonly<Record<string, readonly string[]>>;
  readonly id?: string;
  readonly turns?: readonly Turn[];
  /** The name of its class. */
  readonly className?: string;
  /** False of a piece of a text that others follow. */
  readonly ends?: boolean;
  /** The number of its class, where it has that and no name. */
  readonly label?: number;
  /** What its json says of it: scores, sizes, addresses. */
  readonly fields: Readonly<Record<string, unknown>>;
}
