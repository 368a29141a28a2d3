/** The sizes of a model that goes on from a run or a checkpoint: what lies beside the weights says them. */
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { FileError } from "../../compiler/index.ts";
import type { Config, Model } from "../../dsl/index.ts";
import { readRunSettings, type Settings, writeFileAtomically } from "../../runtime/index.ts";
import { isFolder } from "../checkpoint.ts";
import { json } from "../output.ts";
import { flattened, nested } from "./settings.ts";

/** Says whose configuration a `config.json` is, for models of which no published form is known. */
const modelKey = "heddle_model";

/**
 * The model's configuration with the sizes of what it starts from: those of an earlier run of the same model, or what a
 * `config.json` says of it. The first source goes before the others.
 */
export async function sizedBySources(model: Model, sources: readonly string[]): Promise<Config> {
  let config = model.config;
  for (const source of [...sources].reverse()) {
    const folder = isFolder(source) ? source : dirname(source);
    config = (await sizesOfRun(model, config, folder)) ?? (await sizesOfFile(model, config, folder)) ?? config;
  }
  return config;
}

async function sizesOfRun({ name }: Model, config: Config, folder: string): Promise<Config | undefined> {
  const settings = await readRunSettings(folder);
  if (settings?.model !== name) return undefined;
  const here: Settings = { ...flattened(config), ...known(settings, Object.keys(flattened(config))) };
  return nested(here, config);
}

const known = (settings: Settings, keys: readonly string[]): Settings =>
  Object.fromEntries(Object.entries(settings).filter(([key]) => keys.includes(key)));

async function sizesOfFile(model: Model, config: Config, folder: string): Promise<Config | undefined> {
  const found = await readConfigFile(folder);
  if (!found) return undefined;
  if (found[modelKey] === model.name) return nested({ ...flattened(config), ...found } as Settings, config);
  return model.checkpoints?.sized?.(config, found);
}

async function readConfigFile(folder: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null && !Array.isArray(found))
      return found as Readonly<Record<string, unknown>>;
  } catch {
    // told below
  }
  throw new FileError(`${path} is no JSON object: mend it, or start from another folder`);
}

/** The config.json of a run's folder: the published form where the model has one, else its settings by their names. */
export async function writeConfigFile(folder: string, model: Model, config: Config): Promise<void> {
  const published = model.checkpoints?.writeConfig?.(config) ?? { [modelKey]: model.name, ...flattened(config) };
  await writeFileAtomically(join(folder, "config.json"), `${json(published)}\n`);
}
