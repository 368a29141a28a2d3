/** How the `config.json` of published checkpoints, or another file in its place, maps to a model's settings. */
import type { Config } from "./config.ts";

/** A parsed JSON object, such as `config.json`. */
export type JsonRecord = Readonly<Record<string, unknown>>;

/** A file with the settings of checkpoints, and how it tells which kind of model it describes. */
export interface ConfigFile {
  /** Its name, beside the weights. */
  readonly name: string;
  /** The field with the kind of model, for messages. */
  readonly field: string;
  /** The kind of model, such as "clip"; undefined if the file has none, and is perhaps of another program. */
  typeOf(json: JsonRecord): unknown;
}

/** The `config.json` of transformers. */
export const configFile: ConfigFile = {
  name: "config.json",
  field: "model_type",
  typeOf: (json) => json.model_type,
};

/** Reads a model's settings from the `config.json` of published checkpoints, or from another file. */
export interface ConfigReader<C extends Config = Config> {
  /** The file that it handles; default the `config.json` of transformers. */
  readonly file?: ConfigFile;
  /** The kinds of model that it handles: of a config.json, values of "model_type". */
  readonly types: readonly string[];
  /** Whether a file of one of these kinds is this model's: several models may share a kind. */
  describes?(json: JsonRecord): boolean;
  /**
   * The settings in a file; `config` supplies those that it leaves out. Throws UsageError naming a field that the
   * model cannot honour.
   */
  read(json: JsonRecord, config: C): C;
  /** Messages about unknown fields that may matter. */
  notes?(json: JsonRecord): readonly string[];
  /** Settings, as dotted keys such as "text.vocab", that may differ between checkpoints of the same published model. */
  readonly incidental?: readonly string[];
  /**
   * The configuration with the sizes of the checkpoint it starts from, which may be another model of the family;
   * undefined if that determines none. Default: `read`, for a file of its own kinds.
   */
  sized?(config: C, json: JsonRecord): C | undefined;
}

/** Translates between a model's settings and the `config.json` of published checkpoints, or another file. */
export interface ConfigCodec<C extends Config = Config> extends ConfigReader<C> {
  /** The file of a configuration; undefined if the published form cannot express it. */
  write(config: C): JsonRecord | undefined;
}

/** The file that a codec handles. */
export const fileOfCodec = <C extends Config>({ file }: ConfigReader<C>): ConfigFile => file ?? configFile;

/** Whether a file is of a kind that a codec handles. */
export const isOfCodec = <C extends Config>(codec: ConfigReader<C>, json: JsonRecord): boolean => {
  const type = fileOfCodec(codec).typeOf(json);
  return typeof type === "string" && codec.types.includes(type);
};

/** Whether a file of settings describes a model. */
export const isDescribedBy = <C extends Config>(codec: ConfigReader<C>, json: JsonRecord): boolean =>
  isOfCodec(codec, json) && (codec.describes?.(json) ?? true);

/** The configuration with the sizes of the checkpoint that a model starts from; undefined if that determines none. */
export function sizedBy<C extends Config>(codec: ConfigReader<C>, config: C, json: JsonRecord): C | undefined {
  if (codec.sized) return codec.sized(config, json);
  return isDescribedBy(codec, json) ? codec.read(json, config) : undefined;
}
