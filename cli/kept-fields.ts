/** Fields of a checkpoint's file of settings that its model's record does not write, kept when it is converted. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { isRecord } from "../data/index.ts";
import { type Config, fileOfCodec, isDescribedBy, type JsonRecord, type Model } from "../dsl/index.ts";
import { folderOf } from "./checkpoint.ts";
import { jsonIn } from "./own-config.ts";
import type { WrittenConfig } from "./written-config.ts";

/** Fields about a file's tensors or who wrote it, which are not those of the file that is written. */
const ofTheFile = /^(_.*|transformers_version|dtype|torch_dtype|quantization_config)$/;

/**
 * Adds the fields of the weights' own file that the record's `write` leaves out, such as a soft cap: other programs
 * would take their defaults instead. Only if that file says the same settings.
 */
export async function withOtherFields(
  model: Model | undefined,
  config: Config | undefined,
  made: WrittenConfig | undefined,
  from: string | undefined,
): Promise<WrittenConfig | undefined> {
  const codec = model?.checkpoints?.config;
  if (!made || !config || !codec || from === undefined) return made;
  const { typeOf } = fileOfCodec(codec);
  const before = await jsonIn(folderOf(from), made.name);
  if (!before || typeOf(before) !== typeOf(made.content) || !isDescribedBy(codec, before)) return made;
  if (!isDeepStrictEqual(codec.read(before, config), config)) return made;
  return { ...made, content: merged(made.content, before, await asSpelled(join(folderOf(from), made.name))) };
}

/** `made`, in the order of `before`, with its other fields, also of objects within; equal ones as they are `spelled`. */
function merged(made: JsonRecord, before: JsonRecord, spelled: JsonRecord): JsonRecord {
  const kept = Object.keys(before).filter((key) => !ofTheFile.test(key));
  const valueAt = (key: string): unknown => {
    const [own, other, asIs] = [made[key], before[key], spelled[key]];
    if (!Object.hasOwn(made, key)) return asIs;
    if (isRecord(own) && isRecord(other)) return merged(own, other, asIs as JsonRecord);
    return isDeepStrictEqual(own, other) ? asIs : own;
  };
  return Object.fromEntries([...new Set([...kept, ...Object.keys(made)])].map((key) => [key, valueAt(key)]));
}

/** The content of a file, with its numbers as they are spelled: Python tells 3.0 and 3 apart. */
async function asSpelled(path: string): Promise<JsonRecord> {
  const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => unknown };
  const numberAsIs = (_: string, value: unknown, { source }: { readonly source: string }) =>
    typeof value === "number" ? rawJSON(source) : value;
  const parse = JSON.parse as (text: string, reviver: typeof numberAsIs) => JsonRecord;
  return parse(await readFile(path, "utf8"), numberAsIs);
}
