/** The `generation_config.json` beside weights: special tokens and decoding, as transformers writes them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileError, shown } from "../compiler/index.ts";
import { isRecord, readJson } from "../data/index.ts";
import type { JsonRecord } from "../dsl/index.ts";
import { type GenerationConfig, generationConfig } from "../runtime/index.ts";
import { folderOf } from "./checkpoint.ts";

export interface CheckpointGeneration extends GenerationConfig {
  readonly path: string;
}

/**
 * The generation settings beside `weights`; undefined if there are none. Encoder-decoders that have no
 * generation_config.json have them in config.json, some of them in that of their decoder, as older versions of
 * transformers wrote them; a start token that the file lacks is found there too. Throws FileError naming a field of
 * another kind.
 */
export async function checkpointGeneration(
  weights: string | undefined,
  encodes: boolean,
): Promise<CheckpointGeneration | undefined> {
  if (weights === undefined) return undefined;
  const own = join(folderOf(weights), "generation_config.json");
  const path = join(folderOf(weights), "config.json");
  const old = encodes && existsSync(path) ? oldFieldsOf(await recordAt(path)) : {};
  if (existsSync(own)) {
    const json = await recordAt(own);
    const { decoder_start_token_id: start = old.bos_token_id } = old;
    const hasStart = [json.decoder_start_token_id, json.bos_token_id].some((id) => id !== undefined && id !== null);
    return read(own, hasStart || start === undefined ? json : { ...json, decoder_start_token_id: start });
  }
  return Object.keys(old).length === 0 ? undefined : read(path, old);
}

/** The fields of generation in a config.json, or, where it lacks them, in that of its decoder. */
function oldFieldsOf(json: JsonRecord): Readonly<Record<string, unknown>> {
  const decoder = ["decoder", "generator", "text_config"].map((key) => json[key]).find(isRecord) ?? {};
  return Object.fromEntries(
    oldFields
      .map((field) => [field, json[field] ?? decoder[field]] as const)
      .filter(([, value]) => value !== undefined && value !== null),
  );
}

/** The fields of generation that config.json had. */
const oldFields: readonly string[] = [
  ...["decoder_start_token_id", "bos_token_id", "eos_token_id", "forced_bos_token_id", "forced_eos_token_id"],
  ...["suppress_tokens", "begin_suppress_tokens", "bad_words_ids", "no_repeat_ngram_size", "num_beams"],
  ...["length_penalty", "early_stopping", "min_length", "max_length", "do_sample", "repetition_penalty"],
  ...["encoder_no_repeat_ngram_size", "temperature", "top_k", "top_p", "diversity_penalty", "num_beam_groups"],
];

async function recordAt(path: string): Promise<JsonRecord> {
  const json = await readJson(path, "generation configuration");
  if (isRecord(json)) return json;
  throw new FileError(`${path}: expected a JSON object`);
}

const read = (path: string, json: JsonRecord): CheckpointGeneration => ({
  path,
  ...generationConfig(
    json,
    (field, needed) => new FileError(`${path}: "${field}" is ${shown(json[field])}, but must be ${needed}`),
  ),
});
