/** Common parts of the `config.json` of image classifiers. */
import type { ConfigCodec, JsonRecord, SizedByTensors } from "../dsl/index.ts";
import { type Fields, fieldNotes, type PublishedConfig } from "./config-fields.ts";

/** The number of classes: the entries of `id2label`, else `num_labels`, else 2, as in transformers. */
export function classCount({ id2label, num_labels }: PublishedConfig): number {
  if (typeof id2label === "object" && id2label !== null) return Object.keys(id2label).length;
  return typeof num_labels === "number" ? num_labels : 2;
}

/**
 * Placeholder class names, since transformers counts classes by `id2label`; `heddle convert` replaces them by those of
 * the weights.
 */
export const unnamedClasses = (count: number): JsonRecord => {
  const names = Array.from({ length: count }, (_, i) => `LABEL_${i}`);
  return {
    id2label: Object.fromEntries(names.map((name, i) => [i, name])),
    label2id: Object.fromEntries(names.map((name, i) => [name, i])),
  };
};

interface PictureCodec<C> {
  /** The value of "model_type". */
  readonly type: string;
  /** The profile's settings: a config.json with these describes it. */
  readonly profile: C;
  /** Whether it is the fallback for a config.json of the type that matches no other profile. */
  readonly any: boolean;
  readonly fields: Fields;
  readonly what: string;
  readonly read: (json: PublishedConfig, config: C) => C;
  readonly write: (config: C) => JsonRecord | undefined;
}

/** Settings that do not distinguish profiles. */
export const incidental = ["image", "classes", "positions", "epsilon", "dropPath", "layerScale"];

/** The codec of one of several profiles that share a "model_type" and are distinguished by their sizes. */
export function pictureCodec<C extends { readonly [key: string]: unknown }>(
  codec: PictureCodec<C>,
): ConfigCodec<C & never> {
  const { type, profile, any, fields, what, read, write } = codec;
  const sizes = (c: C) => JSON.stringify(Object.entries(c).filter(([key]) => !incidental.includes(key)));
  const made = {
    types: [type],
    incidental,
    describes: (json: JsonRecord) => any || sizes(read(json, profile)) === sizes(profile),
    read,
    write,
    notes: (json: JsonRecord) => fieldNotes(json, fields, what),
    sized: (config: C, json: JsonRecord) => (json.model_type === type ? read(json, config) : undefined),
  };
  return made as unknown as ConfigCodec<C & never>;
}

/** The number of classes of a stored head, if the configuration differs. */
export function classesOfTensors<C extends { readonly classes: number }>(
  config: C,
  shapeOf: (tensor: string) => readonly number[] | undefined,
  heads: readonly string[],
): SizedByTensors<never> | undefined {
  const [stored] = heads.map((name) => shapeOf(name)?.[0]).filter((n) => n !== undefined);
  if (stored === undefined || stored === config.classes) return undefined;
  return { config: { ...config, classes: stored } as never, note: `classes: ${stored}, as in the weights` };
}
