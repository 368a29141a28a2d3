/** The settings of a model that the `config.json` beside its weights gives. */
import { type Config, isDescribedBy, type JsonRecord } from "../dsl/index.ts";
import { modelKey, withKnown } from "../runtime/index.ts";
import { type Modelled, modelOf } from "./modelled.ts";
import { isSource, jsonObject, type Located, locate, type Source } from "./sources.ts";
import { isLoaded, type WeightsFrom } from "./weights.ts";

/** A config.json is a few kilobytes. */
const mostBytes = 16 * 2 ** 20;

/**
 * The model with the settings of the `config.json` in the weights' folder in place of its defaults: of a published
 * checkpoint, as the model's record reads it, or of a run of a model with this name. Unchanged for weights that are in
 * no folder, without such a file, or where it describes another model. Throws FileError for a file that is not JSON,
 * and what the record throws for one that it cannot obey.
 */
export async function sizedByWeights<C extends Config>(what: Modelled<C>, weights: WeightsFrom): Promise<Modelled<C>> {
  const model = modelOf(what);
  const source = isLoaded(weights) ? weights.source : weights;
  if (!model || !isSource(source) || !isInFolder(source)) return what;
  const found = await jsonIn(await locate(source));
  if (!found) return what;
  const { json, from } = found;
  const codec = model.checkpoints?.config;
  if (json[modelKey] === model.name) return { ...model, config: withKnown(model.config, json, from) as C };
  return codec && isDescribedBy(codec, json) ? { ...model, config: codec.read(json, model.config) } : what;
}

/**
 * Whether a file may lie beside a source. A web address is a folder only if it says so: for a file, a page would ask
 * for a config.json that its server need not have.
 */
const isInFolder = (source: Source): boolean =>
  source instanceof URL
    ? source.protocol === "file:" || source.pathname.endsWith("/")
    : !(source instanceof Blob || source instanceof Uint8Array);

/** The record of a folder's config.json; that of the folder of a file. */
async function jsonIn({ path, fs }: Located): Promise<{ json: JsonRecord; from: string } | undefined> {
  const info = await fs.stat(path).catch(() => undefined); // what reads the weights says what is wrong
  if (!info) return undefined;
  const folder = info.isFile() ? path.replace(/[^\\/]*$/, "") : `${path.replace(/[\\/]$/, "")}/`;
  const from = `${folder}config.json`;
  if (!(await fs.stat(from).catch(() => undefined))?.isFile()) return undefined;
  return { json: await jsonObject({ path: from, fs }, from, mostBytes), from };
}
