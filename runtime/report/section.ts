/**
 * What a page about a run is made of: plain values, so that a job keeps what it has to say in a file of JSON and the page
 * is made from the files alone. Pictures are data URIs and links are https, since a page loads nothing.
 */

/** A text, the language that it is in (BCP 47; decides font and reading direction), and where it leads. */
export interface Words {
  readonly text: string;
  readonly language?: string;
  /** https. */
  readonly link?: string;
}

/** A text, or several beside each other. */
export type Text = string | Words | readonly (string | Words)[];

/** Whether what a model said, or a picture that it found, is what was asked for; "expected" is that itself. */
export type Mark = "right" | "wrong" | "expected";

export interface Heading {
  readonly kind: "heading";
  readonly text: Text;
}

export interface Paragraph {
  readonly kind: "paragraph";
  readonly text: Text;
}

/** The one number to remember. */
export interface Headline {
  readonly kind: "headline";
  readonly value: string;
  readonly text: Text;
  readonly aside?: Text;
}

/** A line of what was run, such as { label: "Device", value: "cpu", note: "no hardware GPU was found" }. */
export interface Fact {
  readonly label: string;
  readonly value: Text;
  readonly note?: Text;
}

export interface Facts {
  readonly kind: "facts";
  readonly facts: readonly Fact[];
}

/** A share in [0, 1], shown in per cent with a bar; null is shown as a dash. */
export type Cell = Text | number | { readonly share: number } | null;

/** The first cell of each row is its name. A column of numbers or shares is aligned to the right. */
export interface Table {
  readonly kind: "table";
  readonly head: readonly Text[];
  readonly rows: readonly (readonly Cell[])[];
  /** What the rows are compared with, such as chance. */
  readonly foot?: readonly Cell[];
  readonly caption?: Text;
}

/** Points of rising x; null is a figure that is not finite, and leaves a gap. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number | null])[];
}

export interface Chart {
  readonly kind: "chart";
  readonly title: string;
  readonly lines: readonly Line[];
  /** Figures to compare with, such as { at: 4.85, label: "guessing" }. */
  readonly levels?: readonly { readonly at: number; readonly label: string }[];
  readonly caption?: Text;
}

export interface Picture {
  /** A data URI. */
  readonly image: string;
  /** What is seen, for those who do not see it. */
  readonly description: string;
  /** Below the picture, such as a cosine similarity. */
  readonly note?: string;
  readonly mark?: Mark;
}

/** A line below a card's pictures, such as { label: "says", text: "a red car", mark: "right" }. */
export interface Remark {
  readonly label?: string;
  readonly text: Text;
  readonly mark?: Mark;
}

/** Pictures and texts that belong together: what a text finds, what is said of a picture, questions with answers. */
export interface Card {
  readonly title?: Text;
  readonly pictures?: readonly Picture[];
  readonly remarks?: readonly Remark[];
}

export interface Cards {
  readonly kind: "cards";
  readonly cards: readonly Card[];
}

export interface List {
  readonly kind: "list";
  readonly items: readonly Text[];
}

export type Section = Heading | Paragraph | Headline | Facts | Table | Chart | Cards | List;
