/** Batches of images and names: a function of seed and step, so that a resumed run continues with the same ones. */
import { type HostTensor, hostTensor, type Preprocessing } from "../../dsl/index.ts";
import { randomStream } from "../../runtime/index.ts";
import type { Emoji } from "./emoji.ts";
import { side } from "./packed-emoji.ts";
import { writeView } from "./view.ts";

/** Input sizes of the model. */
export interface Shape {
  /** Side of an image. */
  readonly image: number;
  /** Ids per text. */
  readonly tokens: number;
  readonly preprocessing?: Preprocessing | undefined;
}

/** A row of a batch, for display. */
export interface Shown {
  readonly emoji: number;
  readonly artist: number;
  readonly language: string;
  readonly text: string;
}

export interface Batch {
  readonly feeds: Readonly<Record<string, HostTensor>>;
  readonly shown: readonly Shown[];
}

/** The last artist is held out: its drawings test what was learned from the others'. */
export const heldOut = ({ artists }: Emoji): number => artists.length - 1;

/** The batch of a step. No two rows show the same emoji, as long as there are enough. */
export function batchOf(emoji: Emoji, shape: Shape, rows: number, seed: number, step: number): Batch {
  const random = randomStream(seed, "batches");
  const count = emoji.emoji.length;
  const shown = Array.from({ length: rows }, (_, row): Shown => {
    const place = step * rows + row;
    const order = permutation(seed, Math.floor(place / count), count);
    const index = order[place % count]!;
    const draw = (what: number, below: number) => random.integer(8 * row + what, below, step);
    const language = emoji.languages[draw(0, emoji.languages.length)]!;
    const texts = emoji.emoji[index]!.texts[language]!;
    // The name itself in half of the cases.
    const text = texts[Math.max(0, draw(1, 2 * texts.length) - texts.length)]!;
    return { emoji: index, artist: draw(2, heldOut(emoji)), language, text };
  });
  const pixels = new Float32Array(rows * 3 * shape.image ** 2);
  for (const [row, { emoji: index, artist }] of shown.entries()) {
    const size = side * (0.75 + 0.35 * random.uniform(8 * row + 3, step));
    const [left, top] = [4, 5].map((what) => (side - size) * random.uniform(8 * row + what, step));
    const window = { left: left!, top: top!, size };
    writeView(
      pixels,
      row * 3 * shape.image ** 2,
      emoji.picture(index, artist),
      window,
      shape.image,
      shape.preprocessing,
    );
  }
  const ids = shown.flatMap(({ text }) => emoji.ids(text, shape.tokens));
  return { feeds: { pixels: pixelsTensor(pixels, rows, shape.image), ids: idsTensor(ids, rows) }, shown };
}

let drawn: { readonly key: string; readonly order: Uint32Array } | undefined;

/** The order of an epoch; the last one is cached, since rows of a batch share it. */
function permutation(seed: number, epoch: number, count: number): Uint32Array {
  const key = `${seed} ${epoch} ${count}`;
  if (drawn?.key !== key) drawn = { key, order: randomStream(seed, "order").permutation(count, epoch) };
  return drawn.order;
}

export const pixelsTensor = (data: Float32Array, rows: number, size: number): HostTensor =>
  hostTensor("f32", sized({ batch: rows, channel: 3, row: size, column: size }), data);

export const idsTensor = (ids: readonly number[], rows: number): HostTensor =>
  hostTensor("i32", sized({ batch: rows, token: ids.length / rows }), Int32Array.from(ids));

const sized = (axes: Readonly<Record<string, number>>) => Object.entries(axes).map(([name, size]) => ({ name, size }));
