/** The `config.json` of a model without a published form: its settings, flat, under the model's name. */
import { readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { FileError } from "../compiler/index.ts";
import { type Config, configFile, type JsonRecord, type StageSetting } from "../dsl/index.ts";
import { flattened, modelKey, withKnown } from "../runtime/index.ts";

export { flattened, nested, withKnown } from "../runtime/index.ts";

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
export function readOwnConfig(folder: string, json: JsonRecord): OwnConfig | undefined {
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
export const configJson = (folder: string): Promise<JsonRecord | undefined> => jsonIn(folder, configFile.name);

/** The object in a file of a folder; undefined if there is none. Throws FileError for a file of anything else. */
export async function jsonIn(folder: string, name: string): Promise<JsonRecord | undefined> {
  const path = join(folder, name);
  const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new FileError(`"${path}" cannot be read: ${error.message}`, { cause: error });
  });
  if (text === undefined) return undefined;
  try {
    const found: unknown = JSON.parse(text);
    if (typeof found === "object" && found !== null && !Array.isArray(found)) return found as JsonRecord;
  } catch (cause) {
    throw new FileError(`${path}: ${(cause as Error).message}`, { cause });
  }
  throw new FileError(`${path}: expected a JSON object`);
}
