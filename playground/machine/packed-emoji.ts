/** The format of the packed emoji: one sheet of square images, and their names. */

/** Side of an image in the sheet, in pixels. */
export const side = 64;

export interface PackedEmoji {
  /** In the order of an emoji's images on the sheet; the last artist's are never trained on. */
  readonly artists: readonly string[];
  /** Images per row of the sheet. */
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

/** Attribution of the images. */
export interface Credit {
  readonly name: string;
  readonly author: string;
  readonly link: string;
  readonly license: string;
}

/** The position of an image on the sheet. */
export function placeOf({ artists, columns }: PackedEmoji, emoji: number, artist: number): { x: number; y: number } {
  const tile = emoji * artists.length + artist;
  return { x: (tile % columns) * side, y: Math.floor(tile / columns) * side };
}
