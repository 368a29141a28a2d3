/** The `config.json` that timm writes beside weights: an architecture's name, and what differs from it. */
import { type ConfigFile, type ConfigReader, type JsonRecord, shown, UsageError } from "../dsl/index.ts";
import { all, checkFields, configPart, type Fields, fieldNotes, fieldReader, only } from "./config-fields.ts";

/** The kind of model is an architecture without the size of images that may end its name. */
const timmFile: ConfigFile = {
  name: "config.json",
  field: "architecture",
  typeOf: ({ architecture }) => (typeof architecture === "string" ? architecture.replace(/_\d+$/, "") : undefined),
};

const fields: Fields = {
  ...all("read", "architecture num_classes global_pool model_args pretrained_cfg"),
  ...all("none", "num_features label_names label_descriptions model_type architectures do_pooling initializer_range"),
  ...all("none", "torch_dtype dtype transformers_version id2label label2id"),
};
const what = "timm's config";

export interface TimmReader<C> {
  /** The architecture, without the size of images. */
  readonly architecture: string;
  /** The pooling that the model has. */
  readonly pooling: string;
  /** The settings for images of `image` pixels a side, and so many classes. */
  readonly settings: (config: C, read: { readonly image: number; readonly classes: number }) => C;
  /** Settings that do not tell models apart. */
  readonly incidental: readonly string[];
}

/** Reads the settings of one architecture of timm. */
export function timmReader<C>({ architecture, pooling, settings, incidental }: TimmReader<C>): ConfigReader<C & never> {
  const made = {
    file: timmFile,
    types: [architecture],
    incidental,
    notes: (json: JsonRecord) => fieldNotes(json, fields, what),
    read: (json: JsonRecord, config: C): C => {
      checkFields(
        { ...json, global_pool: json.global_pool ?? pooling },
        { ...fields, global_pool: only(pooling) },
        what,
      );
      const given = configPart(json, "model_args") ?? {};
      const known = { in_chans: only(3), global_pool: only(pooling), ...all("read", "img_size num_classes") };
      checkFields(given, { ...others(given), ...known }, `${what}: model_args`);
      return settings(config, { image: sideOf(json, given), classes: classesOf(json, given) });
    },
  };
  return made as unknown as ConfigReader<C & never>;
}

/** Arguments that are not known here may change the model: only those that are off are accepted. */
const others = (given: JsonRecord): Fields =>
  Object.fromEntries(Object.keys(given).map((key) => [key, only(null, false)]));

function sideOf({ architecture, pretrained_cfg }: JsonRecord, given: JsonRecord): number {
  const { input_size: input } = Object(pretrained_cfg) as JsonRecord;
  const named = /_(\d+)$/.exec(architecture as string)?.[1];
  const side = given.img_size ?? (Array.isArray(input) ? input.slice(1) : Number(named ?? 224));
  const pair = Array.isArray(side) ? side : [side, side];
  if (pair.length === 2 && pair[0] === pair[1]) return fieldReader({ img_size: pair[0] }, what).size("img_size");
  throw new UsageError(`${what}: the size of images is ${shown(side)}; only squares are supported`);
}

function classesOf(json: JsonRecord, given: JsonRecord): number {
  const count = given.num_classes ?? json.num_classes ?? Object(json.pretrained_cfg).num_classes ?? 1000;
  if (Number.isInteger(count) && (count as number) >= 0 && (count as number) <= 2 ** 20) return count as number;
  throw new UsageError(`${what}: "num_classes" is ${shown(count)}; expected an integer from 0`);
}
