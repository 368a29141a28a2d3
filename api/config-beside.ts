/** The settings of a model that the `config.json` beside its weights gives. */
import { type Config, codecsOf, configFile, fileOfCodec, isDescribedBy, type JsonRecord } from "../dsl/index.ts";
import { modelKey, withKnown } from "../runtime/index.ts";
import { type Modelled, modelOf } from "./modelled.ts";
import { isSource, jsonObject, type Located, locate, type Source } from "./sources.ts";
import { isLoaded, type WeightsFrom } from "./weights.ts";

/** A config.json is a few kilobytes. */
const mostBytes = 16 * 2 ** 20;

/**
 * The model with the settings of the `config.json`, or another file that its record reads, in the weights' folder in
 * place of its defaults: of a published checkpoint, as the model's record reads it, or of a run of a model with this
 * name. Unchanged for weights that are in no folder, without such a file, or where it describes another model. Throws
 * FileError for a file that is not JSON, and what the record throws for one that it cannot obey.
 */
export async function sizedByWeights<C extends Config>(what: Modelled<C>, weights: WeightsFrom): Promise<Modelled<C>> {
  const model = modelOf(what);
  const source = isLoaded(weights) ? weights.source : weights;
  if (!model || !isSource(source) || !isInFolder(source)) return what;
  const folder = await folderIn(await locate(source));
  if (!folder) return what;
  const own = await jsonIn(folder, configFile.name);
  if (own?.json[modelKey] === model.name) return { ...model, config: withKnown(model.config, own.json, own.from) as C };
  for (const codec of codecsOf(model.checkpoints)) {
    const found = await jsonIn(folder, fileOfCodec(codec).name);
    if (found && isDescribedBy(codec, found.json)) return { ...model, config: codec.read(found.json, model.config) };
  }
  return what;
}

/**
 * Whether a file may lie beside a source. A web address is a folder only if it says so: for a file, a page would ask
 * for a config.json that its server need not have.
 */
const isInFolder = (source: Source): boolean =>
  source instanceof URL
    ? source.protocol === "file:" || source.pathname.endsWith("/")
    : !(source instanceof Blob || source instanceof Uint8Array);

/** The folder of weights, with a slash at its end; undefined if they are missing, which is told when they are read. */
async function folderIn({ path, fs }: Located): Promise<Located | undefined> {
  const info = await fs.stat(path).catch(() => undefined);
  if (!info) return undefined;
  return { path: info.isFile() ? path.replace(/[^\\/]*$/, "") : `${path.replace(/[\\/]$/, "")}/`, fs };
}

/** The record in a file of a folder; undefined if there is none. */
async function jsonIn(folder: Located, name: string): Promise<{ json: JsonRecord; from: string } | undefined> {
  const { fs } = folder;
  const from = `${folder.path}${name}`;
  if (!(await fs.stat(from).catch(() => undefined))?.isFile()) return undefined;
  return { json: await jsonObject({ path: from, fs }, from, mostBytes), from };
}
