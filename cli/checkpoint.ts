/**
 * Published checkpoints as command arguments: a folder as the model, sizes from its file of settings and its tensors.
 */
import { existsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { shown, UsageError } from "../compiler/index.ts";
import {
  type Config,
  type ConfigFile,
  type ConfigReader,
  codecsOf,
  configFile,
  fileOfCodec,
  isDescribedBy,
  isOfCodec,
  type JsonRecord,
  type Model,
} from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { escapeControls, openSafetensors } from "../runtime/index.ts";
import { calledAsItIs } from "./family-name.ts";
import { configJson, flattened, jsonIn, type OwnConfig, readOwnConfig, withKnown } from "./own-config.ts";

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

/** The model that a checkpoint's folder describes. Throws UsageError if no file in it does, or is not understood. */
export async function modelOfFolder(folder: string): Promise<Model> {
  const json = await configJson(folder);
  const own = json && readOwnConfig(folder, json);
  if (own) return ofOwn(folder, own);
  let unknown: UsageError | undefined;
  for (const file of knownFiles()) {
    const found = file.name === configFile.name ? json : await jsonIn(folder, file.name);
    if (!found) continue;
    const path = join(folder, file.name);
    const model = describedBy(path, file, found);
    if (model) return model;
    if (!unknown || file.typeOf(found) !== undefined) unknown = unknownKind(path, file, found);
  }
  throw unknown ?? withoutConfig(folder);
}

/** The files that bundled models are read from, transformers' config.json first. */
const knownFiles = (): ReadonlySet<ConfigFile> =>
  new Set([configFile, ...bundledModels.flatMap((m) => codecsOf(m.checkpoints).map(fileOfCodec))]);

/** A bundled model and its reader of a file. */
interface Reading {
  readonly model: Model;
  readonly codec: ConfigReader;
}

/** The bundled model that a file describes; undefined if none. */
function describedBy(path: string, file: ConfigFile, json: JsonRecord): Model | undefined {
  const known = bundledModels.flatMap((model): Reading[] => {
    const codec = codecsOf(model.checkpoints).find((c) => fileOfCodec(c) === file && understood(path, c, json));
    return codec ? [{ model, codec }] : [];
  });
  const found = nearest(known, json);
  if (!found) return undefined;
  const { model, codec } = found;
  const read = { ...model, config: readBy(path, codec, json, model.config) };
  return calledAsItIs(read, String(fileOfCodec(codec).typeOf(json)));
}

function withoutConfig(folder: string): UsageError {
  const imported = join(folder, "model.graph"); // the name that `heddle import` gives it
  const hint = existsSync(imported) ? `\n  hint: it holds an imported graph; give "${imported}" instead` : "";
  return new UsageError(`folder "${folder}" has no config.json, so its model is unknown${hint}`);
}

function unknownKind(path: string, file: ConfigFile, json: JsonRecord): UsageError {
  const codecs = bundledModels.flatMap((m) => codecsOf(m.checkpoints)).filter((c) => fileOfCodec(c) === file);
  const types = [...new Set(codecs.flatMap((c) => c.types))];
  return new UsageError(
    `${path}: ${wrongKind(file, json, types)}; for a model defined in your own file, give the file as the model and the folder as --weights`,
  );
}

function wrongKind({ field, typeOf }: ConfigFile, json: JsonRecord, types: readonly string[]): string {
  const type = typeOf(json);
  return `"${field}" is ${type === undefined ? "missing" : shown(type)}, but must be one of ${types.join(", ")}`;
}

/** The model among `readings` that shares most settings with a file; the first of several. */
function nearest(readings: readonly Reading[], json: JsonRecord): Reading | undefined {
  if (readings.length < 2) return readings[0];
  const shared = readings.map(({ model: { config }, codec }) => {
    try {
      const [read, own] = [flattened(codec.read(json, config)), flattened(config)];
      return Object.keys(own).filter((key) => String(read[key]) === String(own[key])).length;
    } catch (error) {
      if (error instanceof UsageError) return 0; // reported for the chosen one only
      throw error;
    }
  });
  return readings[shared.indexOf(Math.max(...shared))];
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
  const json = await configJson(folder);
  const own = json && readOwnConfig(folder, json);
  if (own) return own.model === model.name ? { ...model, config: own.config(model.config) } : model;
  const written = model.checkpoints?.config;
  const isExpressed = written?.write(model.config) !== undefined;
  const codecs = codecsOf(model.checkpoints).filter((codec) => codec !== written || isExpressed);
  const read = await codecBeside(folder, codecs);
  if (!read) return model;
  return { ...model, config: readBy(read.path, read.codec, read.json, model.config) };
}

/** A file beside weights, and the codec that reads it. */
export interface CodecFile {
  readonly codec: ConfigReader;
  readonly path: string;
  readonly json: JsonRecord;
}

/**
 * The first of a record's codecs whose file is in a folder and of one of its kinds; if none is, the first whose file is
 * there, which says why it cannot be read.
 */
export async function codecBeside(folder: string, codecs: readonly ConfigReader[]): Promise<CodecFile | undefined> {
  const found: CodecFile[] = [];
  for (const codec of codecs) {
    const { name } = fileOfCodec(codec);
    const json = await jsonIn(folder, name);
    if (json) found.push({ codec, path: join(folder, name), json });
  }
  return found.find(({ codec, json }) => isOfCodec(codec, json)) ?? found[0];
}

const understood = (path: string, codec: ConfigReader, json: JsonRecord): boolean =>
  naming(path, () => isDescribedBy(codec, json));

function readBy(path: string, codec: ConfigReader, json: JsonRecord, config: Config): Config {
  return naming(path, () => {
    if (isOfCodec(codec, json)) {
      const read = codec.read(json, config);
      for (const note of codec.notes?.(json) ?? []) process.stderr.write(`${escapeControls(`${path}: ${note}`)}\n`);
      return read;
    }
    throw new UsageError(wrongKind(fileOfCodec(codec), json, codec.types));
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
