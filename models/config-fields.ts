/**
 * How our models treat each field of a published `config.json`: read, irrelevant, or supported for some values only.
 * Fields that are not in these tables are reported, never silently ignored.
 */
import { shown, UsageError } from "../dsl/index.ts";

/** A parsed `config.json`, or an object within one. */
export type PublishedConfig = Readonly<Record<string, unknown>>;

/**
 * "read": one of our settings. "none": does not affect results. `only`: other values are rejected. `trained`: affects
 * training only, and matches ours for these values; others are reported.
 */
export type Field = "read" | "none" | { readonly only: readonly unknown[] } | { readonly trained: readonly unknown[] };
export type Fields = Readonly<Record<string, Field>>;

export const only = (...values: readonly unknown[]): Field => ({ only: values });
export const trained = (...values: readonly unknown[]): Field => ({ trained: values });
export const all = (field: Field, names: string): Fields =>
  Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, field]),
  );

/** Fields of every transformers config: provenance, generation defaults and task heads. */
export const bookkeeping: Fields = {
  ...all("read", "model_type"),
  ...all(
    "none",
    `_name_or_path _commit_hash architectures auto_map transformers_version torch_dtype dtype torchscript use_bfloat16
     attn_implementation _attn_implementation _attn_implementation_autoset _attn_implementation_internal use_flash_attn
     use_cache initializer_range return_dict return_dict_in_generate output_attentions output_hidden_states output_scores
     tf_legacy_loss is_decoder is_encoder_decoder tie_encoder_decoder chunk_size_feed_forward gradient_checkpointing
     bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id forced_bos_token_id forced_eos_token_id
     max_length min_length max_new_tokens do_sample early_stopping num_beams num_beam_groups diversity_penalty temperature
     top_k top_p typical_p repetition_penalty length_penalty no_repeat_ngram_size encoder_no_repeat_ngram_size
     bad_words_ids num_return_sequences remove_invalid_values exponential_decay_length_penalty suppress_tokens
     begin_suppress_tokens finetuning_task id2label label2id num_labels problem_type task_specific_params
     tokenizer_class prefix`,
  ),
  // These would change how the weights are stored, or add more.
  quantization_config: only(null),
  pruned_heads: only(null),
  add_cross_attention: only(false),
  cross_attention_hidden_size: only(null),
};

const says = (value: unknown): boolean => value !== undefined && value !== null && value !== false;
const holds = (values: readonly unknown[], value: unknown): boolean =>
  values.includes(value) || (typeof value === "object" && value !== null && Object.keys(value).length === 0);

/** Throws one UsageError naming every field with an unsupported value. */
export function checkFields(json: PublishedConfig, fields: Fields, what: string): void {
  const refused = Object.entries(json).flatMap(([key, value]) => {
    const field = Object.hasOwn(fields, key) ? fields[key]! : "none";
    if (typeof field === "string" || !("only" in field)) return [];
    if (value === undefined || value === null || holds(field.only, value)) return [];
    return [`${what}: "${key}" is ${shown(value)}; ${expected(field.only)}`];
  });
  if (refused.length > 0) throw new UsageError(refused.join("\n"));
}

function expected(values: readonly unknown[]): string {
  const known = values.filter((v) => v !== null).map((v) => JSON.stringify(v));
  return known.length === 0 ? "this is not supported" : `only ${known.join(" or ")} is supported`;
}

/** Messages about fields of a config that have no effect here. */
export function fieldNotes(json: PublishedConfig, fields: Fields, what: string): string[] {
  return Object.entries(json).flatMap(([key, value]) => {
    const field = Object.hasOwn(fields, key) ? fields[key]! : undefined;
    if (field === undefined) return says(value) ? [`${what}: "${key}" (${shown(value)}) is unknown and ignored`] : [];
    if (typeof field === "string" || !("trained" in field) || !says(value) || holds(field.trained, value)) return [];
    return [`${what}: "${key}" is ${shown(value)}; heddle trains with ${shown(field.trained[0])}`];
  });
}

/** The maximum number of layers: more means a damaged file, and each would be traced. */
export const mostLayers = 1024;

/** Typed readers of a config's fields; they throw UsageError naming a field that is missing or of the wrong type. */
export function fieldReader(json: PublishedConfig, what: string) {
  const field = (key: string, kind: "number" | "boolean" | "string", otherwise?: number | boolean | string) => {
    const value = json[key] ?? otherwise;
    if (typeof value === kind) return value;
    const found = value === undefined ? "missing" : shown(value);
    throw new UsageError(`${what}: "${key}" is ${found}; expected a ${kind}`);
  };
  return {
    number: (key: string, otherwise?: number) => field(key, "number", otherwise) as number,
    /** An integer from 1 to `most`. */
    size: (key: string, most = 2 ** 24) => {
      const value = field(key, "number") as number;
      if (Number.isInteger(value) && value >= 1 && value <= most) return value;
      throw new UsageError(`${what}: "${key}" is ${value}; expected an integer from 1 to ${most}`);
    },
    boolean: (key: string, otherwise?: boolean) => field(key, "boolean", otherwise) as boolean,
  };
}

/**
 * Which state of an encoder a config takes: its input or the output of one of `depth` blocks. The files count from
 * either end, and our settings from the end: -1 is the last.
 */
export function stateFromEnd(
  json: PublishedConfig,
  key: string,
  depth: number,
  otherwise: number,
  what: string,
): number {
  const value = json[key] ?? otherwise;
  const fromEnd = typeof value === "number" && value >= 0 ? value - depth - 1 : value;
  if (Number.isInteger(fromEnd) && (fromEnd as number) >= -depth - 1 && (fromEnd as number) < 0)
    return fromEnd as number;
  throw new UsageError(
    `${what}: "${key}" is ${shown(value)}; expected the index of one state of ${depth} blocks: 0 to ${depth}, or ${-depth - 1} to -1`,
  );
}

/** An object within a config; undefined if absent. */
export function configPart(json: PublishedConfig, key: string): PublishedConfig | undefined {
  const part = json[key];
  if (part === undefined || part === null) return undefined;
  if (typeof part === "object" && !Array.isArray(part)) return part as PublishedConfig;
  throw new UsageError(`"${key}" is ${shown(part)}; expected an object`);
}

/** An object within a config; throws UsageError if absent. */
export function requiredPart(json: PublishedConfig, key: string, what: string): PublishedConfig {
  const part = configPart(json, key);
  if (part) return part;
  throw new UsageError(`${what}: "${key}" is missing; expected an object`);
}
