/** What every `config.json` of a model for classes of pictures says alike. */
import type { ConfigCodec, FitTensor, JsonRecord, SizedByTensors } from "../dsl/index.ts";
import { type Fields, fieldNotes, type PublishedConfig } from "./config-fields.ts";

/** How many classes there are: those that have names, else `num_labels`; 2 where neither is there, as in transformers. */
export function classCount({ id2label, num_labels }: PublishedConfig): number {
  if (typeof id2label === "object" && id2label !== null) return Object.keys(id2label).length;
  return typeof num_labels === "number" ? num_labels : 2;
}

/** Names by number, as transformers counts classes by; `heddle convert` puts those of the weights in their place. */
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
  /** The profile's settings: a config.json that says these is of the profile. */
  readonly profile: C;
  /** Whether any config.json of the type may be read as this profile, where no other has its settings. */
  readonly any: boolean;
  readonly fields: Fields;
  readonly what: string;
  readonly read: (json: PublishedConfig, config: C) => C;
  readonly write: (config: C) => JsonRecord | undefined;
}

/** Settings that do not tell one profile from another. */
const incidental = ["image", "classes", "positions", "epsilon", "dropPath", "layerScale"];

/** One of several profiles that share a "model_type": each is found by its sizes. */
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

/** The classes that a stored head tells apart, where the configuration says another number. */
export function classesOfTensors<C extends { readonly classes: number }>(
  config: C,
  shapeOf: (tensor: string) => readonly number[] | undefined,
  heads: readonly string[],
): SizedByTensors<never> | undefined {
  const [stored] = heads.map((name) => shapeOf(name)?.[0]).filter((n) => n !== undefined);
  if (stored === undefined || stored === config.classes) return undefined;
  return { config: { ...config, classes: stored } as never, note: `classes: ${stored}, as the weights have` };
}

/**
 * What goes on from weights of other classes begins with a head of zeros, as ViT is fine-tuned: Dosovitskiy et al. 2021, section
 * 3.2. `heads` are the paths of the heads' scopes; `others` fits what is no head.
 */
export const fitHeads =
  (heads: readonly string[], others: FitTensor = () => undefined): FitTensor =>
  (parameter, stored, expected) => {
    const scope = parameter.replace(/\.(weight|bias)$/, "");
    if (!heads.includes(scope)) return others(parameter, stored, expected);
    const [had, ...from] = stored;
    const [has, ...to] = expected;
    if (from.join() !== to.join()) return undefined;
    const size = expected.reduce((n, length) => n * length, 1);
    return {
      note: `begins with zeros: the weights tell ${had} classes apart, not ${has}`,
      apply: () => new Float32Array(size),
    };
  };
