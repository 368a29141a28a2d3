/** Generation settings as transformers stores them beside a checkpoint: generation_config.json. */
import type { JsonRecord, TextTokens } from "../../dsl/index.ts";
import type { BeamSearch } from "../generation/beam-search.ts";
import type { WritingLimits } from "../generation/generate.ts";

/** A generation_config.json as far as it is applied. */
export interface GenerationConfig {
  readonly tokens: TextTokens;
  /** The beam search that it asks for; undefined for one beam. */
  readonly beams: BeamSearch | undefined;
  /** Limits of new tokens, and of new tokens together with those that the decoder is given. */
  readonly minNewTokens?: number;
  readonly maxNewTokens?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  /** Its fields that would change texts and that are not applied, in order. */
  readonly unapplied: readonly string[];
}

/** Makes an error of a field and what it must be. */
type Wrong = (field: string, needed: string) => Error;

/** Fields that leave texts as they are; those of sampling do without `do_sample`. */
const neutral: readonly string[] = [
  ...["_from_model_config", "transformers_version", "pad_token_id", "bos_token_id", "use_cache", "cache_config"],
  ...["cache_implementation", "max_cache_len", "return_dict_in_generate", "output_attentions", "output_hidden_states"],
  ...["output_scores", "output_logits", "compile_config", "disable_compile", "low_memory", "is_assistant"],
  ...["continuous_batching_config", "prefill_chunk_size", "num_return_sequences"],
];
const ofSampling: readonly string[] = [
  ...["temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff"],
];

/** Values by which transformers turns a field off. */
const off: Readonly<Record<string, readonly unknown[]>> = {
  do_sample: [false],
  repetition_penalty: [1],
  encoder_repetition_penalty: [1],
  encoder_no_repeat_ngram_size: [0],
  diversity_penalty: [0],
  num_beam_groups: [1],
  guidance_scale: [1],
  renormalize_logits: [false],
  remove_invalid_values: [false],
  token_healing: [false],
};

/** Reads a generation_config.json. Throws what `wrong` returns for a field of another kind. */
export function generationConfig(json: JsonRecord, wrong: Wrong): GenerationConfig {
  const given = Object.entries(json).filter(([, value]) => value !== null && value !== undefined);
  const fields = fieldsOf(json, wrong);
  const beams = fields.count("num_beams", 1) ?? 1;
  const lengthPenalty = fields.number("length_penalty");
  const { early_stopping: early } = json;
  if (early !== null && early !== undefined && typeof early !== "boolean" && early !== "never")
    throw wrong("early_stopping", 'true, false or "never"');
  const search: BeamSearch = {
    kind: "beam",
    beams,
    ...(lengthPenalty !== undefined && { lengthPenalty }),
    ...(early !== null && early !== undefined && { earlyStopping: early as NonNullable<BeamSearch["earlyStopping"]> }),
  };
  const limits = {
    minNewTokens: fields.count("min_new_tokens", 0),
    maxNewTokens: fields.count("max_new_tokens", 1),
    minLength: fields.count("min_length", 0),
    maxLength: fields.count("max_length", 1),
  };
  const samples = json.do_sample === true;
  const changes = ([field, value]: readonly [string, unknown]) =>
    !neutral.includes(field) &&
    !fields.applied.has(field) &&
    field !== "early_stopping" &&
    !(ofSampling.includes(field) && !samples) &&
    !(Object.hasOwn(off, field) && off[field]!.includes(value));
  const tokens = tokensOf(fields);
  return {
    tokens,
    beams: beams > 1 ? search : undefined,
    ...(Object.fromEntries(Object.entries(limits).filter(([, n]) => n !== undefined)) as object),
    unapplied: given.filter(changes).map(([field]) => field),
  };
}

/** Typed access to the fields that are applied; null is absent. */
function fieldsOf(json: JsonRecord, wrong: Wrong) {
  const applied = new Set<string>();
  const read = <T>(field: string, needed: string, is: (value: unknown) => value is T): T | undefined => {
    applied.add(field);
    const value = json[field];
    if (value === null || value === undefined) return undefined;
    if (is(value)) return value;
    throw wrong(field, needed);
  };
  const isId = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
  const isIds = (value: unknown): value is readonly number[] => Array.isArray(value) && value.every(isId);
  const isEither = (value: unknown): value is number | readonly number[] => isId(value) || isIds(value);
  return {
    applied,
    id: (field: string) => read(field, "a token id", isId),
    /** One id or several. */
    ids: (field: string) => {
      const ids = read(field, "a token id or a list of them", isEither);
      return ids === undefined ? undefined : typeof ids === "number" ? [ids] : ids;
    },
    /** Sequences of ids that are barred, each of one id. */
    words: (field: string) =>
      read(
        field,
        "a list of lists of one token id each",
        (value): value is readonly (readonly number[])[] =>
          Array.isArray(value) && value.every((word) => isIds(word) && word.length === 1),
      )?.flat(),
    number: (field: string) => read(field, "a number", (value): value is number => Number.isFinite(value)),
    count: (field: string, least: number) =>
      read(
        field,
        `an integer of at least ${least}`,
        (value): value is number => Number.isInteger(value) && (value as number) >= least,
      ),
  };
}

function tokensOf(fields: ReturnType<typeof fieldsOf>): TextTokens {
  const [suppress, words] = [fields.ids("suppress_tokens"), fields.words("bad_words_ids")];
  const ngram = fields.count("no_repeat_ngram_size", 0);
  const tokens: { readonly [key in keyof TextTokens]: TextTokens[key] | undefined } = {
    decoderStart: fields.id("decoder_start_token_id") ?? fields.id("bos_token_id"),
    eos: fields.ids("eos_token_id"),
    forcedBos: fields.id("forced_bos_token_id"),
    forcedEos: fields.ids("forced_eos_token_id"),
    suppress: suppress || words ? [...(suppress ?? []), ...(words ?? [])] : undefined,
    beginSuppress: fields.ids("begin_suppress_tokens"),
    noRepeatNgram: ngram === 0 ? undefined : ngram,
  };
  return Object.fromEntries(Object.entries(tokens).filter(([, value]) => value !== undefined)) as TextTokens;
}

/**
 * The decoding that a generation_config.json asks for, after `begun` tokens; where it says nothing, `otherwise`. Lengths
 * count the tokens that the decoder is given, as in transformers.
 */
export function storedLimits(config: GenerationConfig, otherwise: WritingLimits, begun: number): WritingLimits {
  const { minLength, maxLength, beams } = config;
  const maxNewTokens =
    config.maxNewTokens ?? (maxLength === undefined ? otherwise.maxNewTokens : Math.max(1, maxLength - begun));
  const least = Math.max(config.minNewTokens ?? 0, (minLength ?? 0) - begun);
  const given = config.minNewTokens !== undefined || minLength !== undefined;
  const minNewTokens = Math.min(given ? least : (otherwise.minNewTokens ?? 0), maxNewTokens);
  return { ...otherwise, strategy: beams ?? otherwise.strategy, maxNewTokens, minNewTokens };
}
