/** Reads and writes the config.json of transformers' ResNet. */
import type { JsonRecord } from "../../dsl/index.ts";
import { UsageError } from "../../dsl/index.ts";
import {
  all,
  bookkeeping,
  checkFields,
  type Fields,
  fieldReader,
  only,
  type PublishedConfig,
} from "../config-fields.ts";
import { classCount, unnamedClasses } from "../picture-config.ts";
import type { ResnetConfig } from "./resnet.ts";

export const resnetWhat = "the ResNet config";

export const resnetFields: Fields = {
  ...bookkeeping,
  ...all("read", "embedding_size hidden_sizes depths layer_type downsample_in_first_stage downsample_in_bottleneck"),
  ...all("none", "out_features out_indices stage_names"), // which maps a detector takes
  num_channels: only(3),
  hidden_act: only("relu"),
};

export function readResnetConfig(json: PublishedConfig, config: ResnetConfig): ResnetConfig {
  checkFields(json, resnetFields, resnetWhat);
  const { number, boolean } = fieldReader(json, resnetWhat);
  const list = (key: string, otherwise: readonly number[]): readonly number[] => {
    const value = json[key] ?? otherwise;
    if (Array.isArray(value) && value.length > 0 && value.every((n) => Number.isInteger(n) && n >= 1)) return value;
    throw new UsageError(`${resnetWhat}: "${key}" is ${JSON.stringify(value)}; expected a list of positive integers`);
  };
  const block = json.layer_type ?? "bottleneck";
  if (block !== "basic" && block !== "bottleneck")
    throw new UsageError(
      `${resnetWhat}: "layer_type" is ${JSON.stringify(block)}; only "basic" or "bottleneck" is supported`,
    );
  const [widths, depths] = [list("hidden_sizes", [256, 512, 1024, 2048]), list("depths", [3, 4, 6, 3])];
  if (depths.length !== widths.length)
    throw new UsageError(
      `${resnetWhat}: "depths" has ${depths.length} stages, but "hidden_sizes" has ${widths.length}`,
    );
  return {
    ...config,
    stem: number("embedding_size", 64),
    widths,
    depths,
    block,
    halvesFirst: boolean("downsample_in_bottleneck", false),
    halvesInFirstStage: boolean("downsample_in_first_stage", false),
    classes: classCount(json),
  };
}

export const writeResnetConfig = (c: ResnetConfig): JsonRecord => ({
  architectures: ["ResNetForImageClassification"],
  model_type: "resnet",
  num_channels: 3,
  embedding_size: c.stem,
  hidden_sizes: c.widths,
  depths: c.depths,
  layer_type: c.block,
  hidden_act: "relu",
  downsample_in_first_stage: c.halvesInFirstStage,
  downsample_in_bottleneck: c.halvesFirst,
  ...unnamedClasses(c.classes),
});
