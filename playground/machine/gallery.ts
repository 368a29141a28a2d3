/** The search index: held-out drawings and all names, embedded with the current weights. */
import { heldOut, type Shown } from "./batches.ts";
import type { Emoji, Picture } from "./emoji.ts";
import { nearest, type PictureVectors, rowOf, type Towers, type Vectors } from "./towers.ts";

/** A retrieved drawing. */
export interface Hit {
  readonly emoji: number;
  readonly artist: number;
  readonly cosine: number;
  /** Attention per patch, row by row; sums to 1. */
  readonly attention?: Float32Array;
}

/** A matching name with its language. */
export interface Named {
  readonly language: string;
  readonly text: string;
  readonly cosine: number;
}

export interface PictureFound {
  readonly hits: readonly Hit[];
  /** The nearest name in each language. */
  readonly names: readonly Named[];
  readonly attention?: Float32Array;
}

/**
 * Retrieval on held-out drawings: the fraction whose own name is nearest, by language, and what they are mistaken for.
 */
export interface Evaluation {
  readonly candidates: number;
  readonly recall: Readonly<Record<string, number>>;
  readonly guesses: readonly { readonly emoji: number; readonly guess: string; readonly right: boolean }[];
}

type NameOf = Pick<Shown, "emoji" | "language" | "text">;

export class Gallery {
  private readonly emoji: Emoji;
  private readonly towers: Towers;
  private pictures: PictureVectors | undefined;
  private names: Vectors | undefined;
  private readonly named: readonly NameOf[];

  constructor(emoji: Emoji, towers: Towers) {
    this.emoji = emoji;
    this.towers = towers;
    this.named = emoji.languages.flatMap((language) =>
      emoji.emoji.map(({ texts }, i) => ({ emoji: i, language, text: texts[language]![0]! })),
    );
  }

  /** Embeds everything that can be found. */
  async fill(): Promise<void> {
    this.pictures = await this.towers.pictures(this.emoji.emoji.map((_, i) => this.drawing(i)));
    this.names = await this.towers.texts(this.named.map(({ text }) => text));
  }

  private drawing(emoji: number): Picture {
    return this.emoji.picture(emoji, heldOut(this.emoji));
  }

  async searchText(text: string, count: number): Promise<readonly Hit[]> {
    return this.hits(rowOf(await this.towers.texts([text]), 0), count);
  }

  async searchPicture(picture: Picture, count: number): Promise<PictureFound> {
    const found = await this.towers.pictures([picture]);
    const vector = rowOf(found, 0);
    const named = nearest(vector, this.names!, this.named.length).map(({ row, cosine }) => ({
      ...this.named[row]!,
      cosine,
    }));
    const names = this.emoji.languages.map((language) => named.find((n) => n.language === language)!);
    return {
      hits: this.hits(vector, count),
      names: names.map(({ language, text, cosine }) => ({ language, text, cosine })),
      ...(found.attention && { attention: rowOf(found.attention, 0) }),
    };
  }

  private hits(vector: Float32Array, count: number): Hit[] {
    const pictures = this.pictures!;
    return nearest(vector, pictures, count).map(({ row, cosine }) => ({
      emoji: row,
      artist: heldOut(this.emoji),
      cosine,
      ...(pictures.attention && { attention: rowOf(pictures.attention, row).slice() }),
    }));
  }

  /** Tests `count` emoji, evenly spread. */
  async evaluate(count: number): Promise<Evaluation> {
    const { emoji, languages } = this.emoji;
    const tested = Array.from({ length: Math.min(count, emoji.length) }, (_, i) =>
      Math.floor((i * emoji.length) / Math.min(count, emoji.length)),
    );
    const pictures = await this.towers.pictures(tested.map((i) => this.drawing(i)));
    const recall: Record<string, number> = {};
    let guesses: Evaluation["guesses"] = [];
    for (const language of languages) {
      const names = tested.map((i) => emoji[i]!.texts[language]![0]!);
      const vectors = await this.towers.texts(names);
      const best = tested.map((_, row) => nearest(rowOf(pictures, row), vectors, 1)[0]!.row);
      recall[language] = best.filter((found, row) => found === row).length / tested.length;
      if (guesses.length === 0)
        guesses = best.map((found, row) => ({ emoji: tested[row]!, guess: names[found]!, right: found === row }));
    }
    return { candidates: tested.length, recall, guesses };
  }
}
