/**
 * Published checkpoints as command arguments: a folder as the model, sizes from its config.json and from its tensors.
 */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { shown, UsageError } from "../compiler/index.ts";
import { type Config, type ConfigCodec, isDescribedBy, type JsonRecord, type Model } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { escapeControls, openSafetensors } from "../runtime/index.ts";
import { calledAsItIs } from "./family-name.ts";
import { configJson, flattened, type OwnConfig, readOwnConfig, withKnown } from "./own-config.ts";

/** Whether a path is an existing folder; a path that cannot be one, such as a loop of links, is not. */
export function isFolder(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** The weights that a command reads: those given, else those of the model if that is a checkpoint's folder. */
export const weightsOf = (source: string, given: string | undefined): string | undefined =>
  given ?? (!bundledModels.some((m) => m.name === source) && isFolder(source) ? source : undefined);

/** The folder with the files beside weights: the weights themselves if a folder, else the folder of their file. */
export const folderOf = (weights: string): string => (isFolder(weights) ? weights : dirname(weights));

/** The model that a checkpoint's folder describes. Throws UsageError if config.json is missing or not understood. */
export async function modelOfFolder(folder: string): Promise<Model> {
  const json = await configJson(folder);
  if (!json) {
    const imported = join(folder, "model.graph"); // the name that `heddle import` gives it
    const hint = existsSync(imported) ? `\n  hint: it holds an imported graph; give "${imported}" instead` : "";
    throw new UsageError(`folder "${folder}" has no config.json, so its model is unknown${hint}`);
  }
  const own = readOwnConfig(folder, json);
  if (own) return ofOwn(folder, own);
  const path = join(folder, "config.json");
  const known = bundledModels.filter((m) => m.checkpoints?.config && understood(path, m.checkpoints.config, json));
  const found = nearest(known, json);
  if (found) {
    const read = { ...found, config: readBy(path, found.checkpoints!.config!, json, found.config) };
    return calledAsItIs(read, String(json.model_type));
  }
  const type = json.model_type === undefined ? "missing" : shown(json.model_type);
  const types = [...new Set(bundledModels.flatMap((m) => m.checkpoints?.config?.types ?? []))];
  throw new UsageError(
    `${path}: "model_type" is ${type}, but must be one of ${types.join(", ")}; for a model defined in your own file, give the file as the model and the folder as --weights`,
  );
}

/** The model among `models` that shares most settings with a config.json; the first of several. */
function nearest(models: readonly Model[], json: JsonRecord): Model | undefined {
  if (models.length < 2) return models[0];
  const shared = models.map(({ checkpoints, config }) => {
    try {
      const [read, own] = [flattened(checkpoints!.config!.read(json, config)), flattened(config)];
      return Object.keys(own).filter((key) => String(read[key]) === String(own[key])).length;
    } catch (error) {
      if (error instanceof UsageError) return 0; // reported for the chosen one only
      throw error;
    }
  });
  return models[shared.indexOf(Math.max(...shared))];
}

/** The model of a checkpoint that heddle wrote in its own config format. */
function ofOwn(folder: string, own: OwnConfig): Model {
  const found = bundledModels.find((m) => m.name === own.model);
  if (found) return calledAsItIs({ ...found, config: own.config(found.config) });
  const file = own.source ?? "its TypeScript file";
  throw new UsageError(
    `"${folder}" holds weights of "${own.model}", which is not a bundled model: give ${file} as the model and this folder as --weights`,
  );
}

/**
 * A model with the sizes of the checkpoint it reads; unchanged if no file beside the weights gives them. Throws
 * UsageError for a checkpoint of another model.
 */
export async function sizedByWeights(model: Model, weights: string): Promise<Model> {
  const folder = folderOf(weights);
  const codec = model.checkpoints?.config;
  const json = await configJson(folder);
  if (!json) return model;
  const own = readOwnConfig(folder, json);
  if (own) return own.model === model.name ? { ...model, config: own.config(model.config) } : model;
  if (codec?.write(model.config) === undefined) return model;
  return { ...model, config: readBy(join(folder, "config.json"), codec, json, model.config) };
}

const understood = (path: string, codec: ConfigCodec, json: JsonRecord): boolean =>
  naming(path, () => isDescribedBy(codec, json));

function readBy(path: string, codec: ConfigCodec, json: JsonRecord, config: Config): Config {
  return naming(path, () => {
    if (typeof json.model_type === "string" && codec.types.includes(json.model_type)) {
      const read = codec.read(json, config);
      for (const note of codec.notes?.(json) ?? []) process.stderr.write(`${escapeControls(`${path}: ${note}`)}\n`);
      return read;
    }
    const type = json.model_type === undefined ? "missing" : shown(json.model_type);
    throw new UsageError(`"model_type" is ${type}, but must be one of ${codec.types.join(", ")}`);
  });
}

/** Prefixes errors with the file's path. */
function naming<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const named = new UsageError(`${path}: ${error.message}`);
    const stack = error.stack?.replace(error.message, () => named.message); // it may be that of the record
    if (stack !== undefined) named.stack = stack;
    throw named;
  }
}

/**
 * The configuration adapted to the weights' tensors, except for settings that were given. Conversions are reported on
 * stderr.
 */
export async function fittedToWeights(
  model: Model,
  config: Config,
  weights: string,
  given: readonly string[],
): Promise<Config> {
  const fit = model.checkpoints?.sizedByTensors;
  if (!fit || !existsSync(weights)) return config; // reported when they are opened, after errors in the model
  await using reader = await openSafetensors(weights);
  const fitted = fit(config, (name) => reader.tensors.get(name)?.shape);
  if (!fitted) return config;
  const [before, after] = [flattened(config), flattened(fitted.config)];
  const changed = Object.keys(after).filter((key) => after[key] !== before[key]);
  if (changed.some((key) => given.includes(key))) return config;
  if (fitted.note !== undefined) process.stderr.write(`${fitted.note}\n`);
  return withKnown(config, after, weights);
}
