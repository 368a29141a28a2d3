/** The file with a model's settings that is written beside its weights. */
import { type Config, configFile, fileOfCodec, type JsonRecord, type Model } from "../dsl/index.ts";
import { recordName } from "./family-name.ts";
import { ownConfigOf } from "./own-config.ts";

export interface WrittenConfig {
  /** The file's name. */
  readonly name: string;
  readonly content: JsonRecord;
}

/** The published form of a configuration, else its settings by their own names. `source` is the command's argument. */
export function writtenConfig(model: Model, config: Config, source: string): WrittenConfig {
  const codec = model.checkpoints?.config;
  const published = codec?.write(config);
  if (codec && published) return { name: fileOfCodec(codec).name, content: published };
  return { name: configFile.name, content: ownConfigOf(recordName(model), config, source) };
}

/** The name of the file in which a model's settings are written, where its published form can express them. */
export const writtenName = ({ checkpoints }: Model): string =>
  checkpoints?.config ? fileOfCodec(checkpoints.config).name : configFile.name;
