/** Fields of a checkpoint's config.json that its model's record does not write, kept when the checkpoint is converted. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { type Config, isDescribedBy, type JsonRecord, type Model } from "../dsl/index.ts";
import { folderOf } from "./checkpoint.ts";
import { configJson } from "./own-config.ts";

/** Fields about a file's tensors or who wrote it, which are not those of the file that is written. */
const ofTheFile = /^(_.*|transformers_version|dtype|torch_dtype|quantization_config)$/;

/**
 * Adds the fields of the weights' own config.json that the record's `write` leaves out, such as a soft cap: other
 * programs would take their defaults instead. Only if that file says the same settings.
 */
export async function withOtherFields(
  model: Model | undefined,
  config: Config | undefined,
  made: JsonRecord | undefined,
  from: string | undefined,
): Promise<JsonRecord | undefined> {
  const codec = model?.checkpoints?.config;
  if (!made || !config || !codec || from === undefined) return made;
  const before = await configJson(folderOf(from));
  if (!before || before.model_type !== made.model_type || !isDescribedBy(codec, before)) return made;
  if (!isDeepStrictEqual(codec.read(before, config), config)) return made;
  const spelled = await asSpelled(folderOf(from));
  const kept = Object.keys(before).filter((key) => !ofTheFile.test(key));
  return Object.fromEntries(
    [...new Set([...kept, ...Object.keys(made)])].map((key) => [
      key,
      Object.hasOwn(made, key) && !isDeepStrictEqual(made[key], before[key]) ? made[key] : spelled[key],
    ]),
  );
}

/** The config.json of a folder, with its numbers as they are spelled: Python tells 3.0 and 3 apart. */
async function asSpelled(folder: string): Promise<JsonRecord> {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
  const numberAsIs = (_: string, value: unknown, { source }: { readonly source: string }) =>
    typeof value === "number" ? rawJSON(source) : value;
  const parse = JSON.parse as (text: string, reviver: typeof numberAsIs) => JsonRecord;
  return parse(await readFile(join(folder, "config.json"), "utf8"), numberAsIs);
}
