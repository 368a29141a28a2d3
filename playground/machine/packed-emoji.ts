/** The emoji as they are packed for the page: one sheet of square pictures, and what each of them is called. */

/** Side of a picture of the sheet, in pixels. */
export const side = 64;

export interface PackedEmoji {
  /** In the order of an emoji's pictures on the sheet; the last one's are never trained on. */
  readonly artists: readonly string[];
  /** Pictures in a row of the sheet. */
  readonly columns: number;
  readonly languages: readonly string[];
  readonly emoji: readonly NamedEmoji[];
  readonly credits: readonly Credit[];
  /** A tokenizer.json. */
  readonly tokenizer: object;
}

export interface NamedEmoji {
  readonly id: string;
  readonly characters: string;
  /** By language: the name first, then keywords. */
  readonly texts: Readonly<Record<string, readonly string[]>>;
}

/** Whom to name where the pictures are shown. */
export interface Credit {
  readonly name: string;
  readonly author: string;
  readonly link: string;
  readonly license: string;
}

/** Where a picture lies on the sheet. */
export function placeOf({ artists, columns }: PackedEmoji, emoji: number, artist: number): { x: number; y: number } {
  const tile = emoji * artists.length + artist;
  return { x: (tile % columns) * side, y: Math.floor(tile / columns) * side };
}
