/** Published checkpoints on a command line: a folder as the model, sizes from its config.json, positions from its tensors. */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { HeddleError, UsageError } from "../compiler/index.ts";
import type { Config, Model } from "../dsl/index.ts";
import {
  bundledModels,
  fitPositions,
  type PublishedModel,
  publishedConfigNotes,
  publishedModelName,
  readPublishedConfig,
  withPublishedSizes,
  writePublishedConfig,
} from "../models/index.ts";
import { escapeControls, openSafetensors } from "../runtime/index.ts";
import { ownConfig } from "./own-config.ts";

/** Whether a path is a folder; false where nothing is. */
export const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;

/** The weights that a command reads: those given, else the model's own where the model is a checkpoint's folder. */
export const weightsOf = (source: string, given: string | undefined): string | undefined =>
  given ?? (!bundledModels.some((m) => m.name === source) && isFolder(source) ? source : undefined);

/** The model that a checkpoint's folder describes. Throws UsageError where config.json is missing or is not understood. */
export async function modelOfFolder(folder: string): Promise<Model> {
  const own = await ownConfig(folder);
  const trained = own && bundledModels.find((m) => m.name === own.model);
  if (trained) return { ...trained, config: own.config(trained.config) };
  const published = await readConfig(folder);
  if (!published)
    throw new UsageError(`"${folder}" is a folder without config.json, so it does not say which model it is`);
  const base = bundledModels.find((m) => m.name === publishedModelName(published))!;
  return { ...base, config: published.config };
}

/**
 * A bundled model with the sizes of the checkpoint it reads; as it is where its weights have no config.json, or where it is
 * of no published kind. Throws UsageError for a checkpoint of another kind.
 */
export async function sizedByWeights(model: Model, weights: string): Promise<Model> {
  const folder = isFolder(weights) ? weights : dirname(weights);
  const own = await ownConfig(folder);
  if (own) return own.model === model.name ? { ...model, config: own.config(model.config) } : model;
  const published = writePublishedConfig(model.config) ? await readConfig(folder) : undefined;
  if (!published) return model;
  const config = withPublishedSizes(model, published);
  if (config) return { ...model, config };
  throw new UsageError(
    `"${weights}" holds a checkpoint of ${publishedModelName(published)}, not of ${model.name}: give the folder as the model`,
  );
}

async function readConfig(folder: string): Promise<PublishedModel | undefined> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new UsageError(`"${path}" cannot be read: ${error.message}`);
  });
  if (text === undefined) return undefined;
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json !== "object" || json === null || Array.isArray(json)) throw new UsageError("it is no JSON object");
    const fields = json as Readonly<Record<string, unknown>>;
    const published = readPublishedConfig(fields);
    for (const note of publishedConfigNotes(fields)) process.stderr.write(`${escapeControls(`${path}: ${note}`)}\n`);
    return published;
  } catch (error) {
    if (error instanceof HeddleError || error instanceof SyntaxError) throw new UsageError(`${path}: ${error.message}`);
    throw error;
  }
}

/** The configuration for the grid of positions that the weights hold; a grid that is used otherwise is told on stderr. */
export async function fittedToWeights(config: Config, weights: string): Promise<Config> {
  if (!existsSync(weights)) return config; // who opens them says so, after what is wrong with the model
  await using reader = await openSafetensors(weights);
  const fitted = fitPositions(config, (name) => reader.tensors.get(name)?.shape);
  if (!fitted) return config;
  const { stored, used } = fitted;
  if (stored !== used)
    process.stderr.write(
      `positions: those of the weights, for ${stored} × ${stored} patches, are interpolated to ${used} × ${used}\n`,
    );
  return fitted.config;
}
