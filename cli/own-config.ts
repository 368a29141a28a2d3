/** The `config.json` of a model without a published form: its settings, flat, under the model's name. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { FileError, shown, UsageError } from "../compiler/index.ts";
import type { Config, ConfigValue, StageSetting } from "../dsl/index.ts";

const modelKey = "heddle_model";
const sourceKey = "heddle_source";

type Flat = Readonly<Record<string, StageSetting>>;

export interface OwnConfig {
  /** The name of the model. */
  readonly model: string;
  /** The file that declares it, as given when the weights were written. */
  readonly source?: string;
  /** The configuration: settings missing in the file keep their defaults. */
  readonly config: (usual: Config) => Config;
}

/** `source` is the model's command line argument. */
export const ownConfigOf = (model: string, config: Config, source?: string): Flat => ({
  [modelKey]: model,
  ...(source !== undefined && { [sourceKey]: basename(source) }),
  ...flattened(config),
});

/** Parses the `config.json` of a folder, if it is of this form. */
export function readOwnConfig(folder: string, json: Readonly<Record<string, unknown>>): OwnConfig | undefined {
  const model = json[modelKey];
  if (typeof model !== "string") return undefined;
  const source = json[sourceKey];
  return {
    model,
    ...(typeof source === "string" && { source }),
    config: (usual) => withKnown(usual, json, join(folder, "config.json")),
  };
}

/** The `config.json` of a folder, of any form; undefined if there is none. */
export async function configJson(folder: string): Promise<Readonly<Record<string, unknown>> | undefined> {
  const path = join(folder, "config.json");
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new FileError(`"${path}" cannot be read: ${error.message}`, { cause: error });
  });
  if (text === undefined) return undefined;
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null && !Array.isArray(found))
      return found as Readonly<Record<string, unknown>>;
  } catch (cause) {
    throw new FileError(`${path}: ${(cause as Error).message}`, { cause });
  }
  throw new FileError(`${path}: expected a JSON object`);
}

/** Groups of settings as dotted keys; a list becomes JSON, since a run's settings are strings and numbers. */
export function flattened(config: Config, before = ""): Record<string, StageSetting> {
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]): [string, StageSetting][] => {
      const name = before + key;
      if (Array.isArray(value)) return [[name, JSON.stringify(value)]];
      return typeof value === "object" ? Object.entries(flattened(value as Config, `${name}.`)) : [[name, value]];
    }),
  );
}

/** The configuration of flat settings, in the structure of `like`. Throws UsageError for an invalid list. */
export const nested = (settings: Flat, like: Config, before = ""): Config =>
  Object.fromEntries(
    Object.entries(like).map(([key, value]): [string, ConfigValue] => {
      const name = before + key;
      if (Array.isArray(value)) return [key, listOf(name, settings[name]!)];
      return [key, typeof value === "object" ? nested(settings, value as Config, `${name}.`) : settings[name]!];
    }),
  );

function listOf(name: string, text: StageSetting): readonly ConfigValue[] {
  try {
    const list: unknown = JSON.parse(String(text));
    if (Array.isArray(list)) return list as ConfigValue[];
  } catch {
    // reported below
  }
  throw otherKind(name, text, "a list, as JSON");
}

const otherKind = (name: string, value: unknown, needed: string) =>
  new UsageError(`${name} is ${shown(value)}; expected ${needed}`);

/** A configuration with those of its settings that a file has. Throws UsageError for one of another type. */
export function withKnown(config: Config, settings: Readonly<Record<string, unknown>>, path: string): Config {
  const usual = flattened(config);
  const known = Object.entries(settings).filter(([key]) => Object.hasOwn(usual, key));
  try {
    for (const [key, value] of known)
      if (typeof value !== typeof usual[key]) throw otherKind(key, value, `a ${typeof usual[key]}`);
    return nested({ ...usual, ...(Object.fromEntries(known) as Flat) }, config);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${path}: ${error.message}`);
    throw error;
  }
}
