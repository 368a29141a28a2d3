/** Fields of a checkpoint's file of settings that its model's record does not write: they are kept with its weights. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isRecord } from "../data/index.ts";
import { type Config, fileOfCodec, isDescribedBy, type JsonRecord, type Model } from "../dsl/index.ts";
import type { WrittenConfig } from "./written-config.ts";

/** Fields about a file's tensors or who wrote it, which are not those of the file that is written. */
const ofTheFile = /^(_.*|transformers_version|dtype|torch_dtype|quantization_config)$/;

/** The text of a file of settings in a folder, for its fields; undefined if there is none. */
export const configText = (folder: string, name: string): Promise<string | undefined> =>
  readFile(join(folder, name), "utf8").catch(() => undefined);

/**
 * Adds the fields of `text`, the file that the weights began with, which the record's `write` leaves out, such as
 * a soft cap or, within `text_config`, an activation: other programs would take their defaults instead. Only if the
 * record reads the result as the same settings.
 */
export function withOtherFields(
  model: Model | undefined,
  config: Config | undefined,
  made: WrittenConfig | undefined,
  text: string | undefined,
): WrittenConfig | undefined {
  const codec = model?.checkpoints?.config;
  if (!made || !config || !codec || text === undefined) return made;
  const before = JSON.parse(text) as JsonRecord;
  const { typeOf } = fileOfCodec(codec);
  if (typeOf(before) !== typeOf(made.content) || !isDescribedBy(codec, before)) return made;
  const kept = withFieldsOf(made.content, before, asSpelled(text));
  const read = codec.read(JSON.parse(JSON.stringify(kept)) as JsonRecord, config);
  return isDeepStrictEqual(read, config) ? { ...made, content: kept } : made;
}

/** The fields of both in the order of `before`; of records that both have, those of both again. */
function withFieldsOf(made: JsonRecord, before: JsonRecord, spelled: JsonRecord): JsonRecord {
  const kept = Object.keys(before).filter((key) => !ofTheFile.test(key));
  const value = (key: string): unknown => {
    const [own, old] = [made[key], before[key]];
    if (!Object.hasOwn(made, key) || isDeepStrictEqual(own, old)) return spelled[key];
    const isNested = isRecord(own) && isRecord(old) && !isClassNames.test(key);
    return isNested ? withFieldsOf(own, old, spelled[key] as JsonRecord) : own;
  };
  return Object.fromEntries([...new Set([...kept, ...Object.keys(made)])].map((key) => [key, value(key)]));
}

/** Their keys are classes, not fields. */
const isClassNames = /^(id2label|label2id)$/;

/** The content of a file, with its numbers as they are spelled: Python tells 3.0 and 3 apart. */
function asSpelled(text: string): JsonRecord {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
  const numberAsIs = (_: string, value: unknown, { source }: { readonly source: string }) =>
    typeof value === "number" ? rawJSON(source) : value;
  const parse = JSON.parse as (text: string, reviver: typeof numberAsIs) => JsonRecord;
  return parse(text, numberAsIs);
}
