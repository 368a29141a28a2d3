/**
 * The building blocks of a run's page: plain values, so that a job can store its report as JSON and the page is made
 * from files alone. Images are data URIs and links are https, since a page loads nothing.
 */

/** A text, its language (BCP 47; determines font and reading direction), and its link. */
export interface Words {
  readonly text: string;
  readonly language?: string;
  /** https. */
  readonly link?: string;
}

/** One text, or several side by side. */
export type Text = string | Words | readonly (string | Words)[];

/** Whether a model's output, or an image it retrieved, is correct; "expected" marks the correct one. */
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

/** A line on what was run, such as { label: "Device", value: "cpu", note: "no hardware GPU was found" }. */
export interface Fact {
  readonly label: string;
  readonly value: Text;
  readonly note?: Text;
}

export interface Facts {
  readonly kind: "facts";
  readonly facts: readonly Fact[];
}

/** A share in [0, 1] is shown as a percentage with a bar; null as a dash. */
export type Cell = Text | number | { readonly share: number } | null;

/** The first cell of each row is its name. Columns of numbers or shares are right-aligned. */
export interface Table {
  readonly kind: "table";
  readonly head: readonly Text[];
  readonly rows: readonly (readonly Cell[])[];
  /** A baseline for the rows, such as chance. */
  readonly foot?: readonly Cell[];
  readonly caption?: Text;
}

/** Points in increasing x; null stands for a value that is not finite, and leaves a gap. */
export interface Line {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number | null])[];
}

export interface Chart {
  readonly kind: "chart";
  readonly title: string;
  readonly lines: readonly Line[];
  /** Reference levels, such as { at: 4.85, label: "guessing" }. */
  readonly levels?: readonly { readonly at: number; readonly label: string }[];
  readonly caption?: Text;
}

export interface Picture {
  /** A data URI. */
  readonly image: string;
  /** Alternative text. */
  readonly description: string;
  /** A note below the image, such as a cosine similarity. */
  readonly note?: string;
  readonly mark?: Mark;
}

/** A line below a card's images, such as { label: "says", text: "a red car", mark: "right" }. */
export interface Remark {
  readonly label?: string;
  readonly text: Text;
  readonly mark?: Mark;
}

/** Images and texts that belong together: what a query retrieves, the captions of an image, questions with answers. */
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
