/** Rows of a batch, as read and rendered, to the samples and pixels of a step. */
import { type HostTensor, hostTensor, sidesOf } from "../compiler/index.ts";
import type { ImageOptions } from "./decoding/render.ts";
import { imageName } from "./images.ts";
import type { Row } from "./mixture.ts";
import { streams } from "./order.ts";
import { pick, seededRandom } from "./random.ts";
import type { RawSample, SampleKind, SampleOf } from "./samples.ts";

interface Options {
  readonly seed: number;
  readonly image?: ImageOptions;
  /** Class names by label. */
  readonly classes?: readonly string[];
}

/** A function from a row to its sample. Random choices depend on the sample's location, never on its batch. */
export function sampleMaker<K extends SampleKind>(kind: K, { seed, image, classes }: Options) {
  const { width, height } = sidesOf(image?.size ?? 1);
  const drawing: Drawing = {
    seed,
    tileNumbers: image?.tiles && 3 * width * height,
    classes: new Map(classes?.map((name, i) => [name, i])),
  };
  return (row: Row): SampleOf<K> => sampleMakers[kind](row, drawing) as SampleOf<K>;
}

/**
 * f32 [batch, channel, row, column], normalized; zeros for rows that are not rendered. With tiles, each row of the
 * batch has `room` rows of pixels.
 */
export function pixelsOf(rows: readonly Row[], { size, tiles }: ImageOptions): HostTensor {
  const { room } = tiles ?? { room: 1 };
  const { width, height } = sidesOf(size);
  const each = room * 3 * width * height;
  const data = new Float32Array(rows.length * each);
  for (const [i, { rendered }] of rows.entries()) if (rendered) data.set(rendered.pixels, i * each);
  const axes = [
    { name: "batch", size: rows.length * room },
    { name: "channel", size: 3 },
    { name: "row", size: height },
    { name: "column", size: width },
  ];
  return hostTensor("f32", axes, data);
}

interface Drawing {
  readonly seed: number;
  /** Values per tile; undefined for untiled images. */
  readonly tileNumbers: number | undefined;
  readonly classes: ReadonlyMap<string, number>;
}

const nameOf = ({ image, name }: RawSample) => (image === undefined ? name : imageName(image));

const sampleMakers: { readonly [K in SampleKind]: (row: Row, drawing: Drawing) => SampleOf<K> } = {
  pairs: ({ raw, ref }, { seed }) => {
    const random = seededRandom(seed, streams.row, ...ref);
    const language = pick(random, Object.keys(raw.texts!));
    const texts = raw.texts![language]!;
    return { group: raw.group, image: nameOf(raw), language, text: pick(random, texts), texts };
  },
  conversations: ({ raw, rendered, tiles }, { tileNumbers }) => ({
    id: raw.id!,
    turns: raw.turns!,
    ...(raw.image === undefined ? {} : { image: nameOf(raw) }),
    ...(tiles !== undefined && { tiles }),
    ...(tileNumbers && rendered && { tiles: rendered.pixels.length / tileNumbers }),
  }),
  labels: ({ raw }, { classes }) => ({
    image: nameOf(raw),
    label: raw.label ?? classes.get(raw.className!)!,
    name: raw.className ?? String(raw.label),
  }),
  texts: ({ raw: { name, texts, ends = true } }) => ({ id: name, text: Object.values(texts!)[0]![0]!, ends }),
  records: ({ raw }) => ({
    id: raw.name,
    ...(raw.image === undefined ? {} : { image: nameOf(raw) }),
    fields: raw.values!,
  }),
  masks: ({ raw, rendered }) => ({ image: nameOf(raw), mask: rendered!.mask! }),
};
