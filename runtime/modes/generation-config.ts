/** Generation settings as transformers stores them beside a checkpoint: generation_config.json. */
import type { JsonRecord, TextTokens } from "../../dsl/index.ts";
import type { BeamSearch } from "../generation/beam-search.ts";
import type { Strategy, WritingLimits } from "../generation/generate.ts";
import type { Sampling } from "../generation/sampling.ts";

/** A generation_config.json as far as it is applied. */
export interface GenerationConfig {
  readonly tokens: TextTokens;
  /** The beam search that it asks for; undefined for one beam, and where it asks for sampling. */
  readonly beams: BeamSearch | undefined;
  /** Its settings of a beam search and of sampling, for those who ask for one. */
  readonly search: Partial<BeamSearch>;
  readonly sampling: Partial<Sampling>;
  /** Whether it asks for sampling, which nothing does unless told. */
  readonly samples: boolean;
  /** Its fields that would change sampled texts and that are not applied, beside `unapplied`. */
  readonly unappliedInSampling: readonly string[];
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

/** Fields that leave texts as they are; those of sampling do where texts are not sampled. */
const neutral: readonly string[] = [
  ...["_from_model_config", "transformers_version", "pad_token_id", "bos_token_id", "use_cache", "cache_config"],
  ...["cache_implementation", "max_cache_len", "return_dict_in_generate", "output_attentions", "output_hidden_states"],
  ...["output_scores", "output_logits", "compile_config", "disable_compile", "low_memory", "is_assistant"],
  ...["continuous_batching_config", "prefill_chunk_size", "num_return_sequences"],
];
const ofSampling: readonly string[] = ["top_h"];

/** Values by which transformers turns a field off. */
const off: Readonly<Record<string, readonly unknown[]>> = {
  top_h: [0],
  diversity_penalty: [0],
  num_beam_groups: [1],
  guidance_scale: [1],
  renormalize_logits: [false],
  remove_invalid_values: [false],
  token_healing: [false],
};

/** Reads a generation_config.json. Throws what `wrong` returns for a field of another kind. */
export function generationConfig(json: JsonRecord, wrong: Wrong): GenerationConfig {
  const present = Object.entries(json).filter(([, value]) => value !== null && value !== undefined);
  const fields = fieldsOf(json, wrong);
  const beams = fields.count("num_beams", 1) ?? 1;
  const lengthPenalty = fields.number("length_penalty");
  const { early_stopping: early } = json;
  if (early !== null && early !== undefined && typeof early !== "boolean" && early !== "never")
    throw wrong("early_stopping", 'true, false or "never"');
  const search: Partial<BeamSearch> = {
    ...(lengthPenalty !== undefined && { lengthPenalty }),
    ...(early !== null && early !== undefined && { earlyStopping: early as NonNullable<BeamSearch["earlyStopping"]> }),
  };
  const limits = {
    minNewTokens: fields.count("min_new_tokens", 0),
    maxNewTokens: fields.count("max_new_tokens", 1),
    minLength: fields.count("min_length", 0),
    maxLength: fields.count("max_length", 1),
  };
  const samples = fields.flag("do_sample") === true;
  const sampling = samplingOf(fields);
  const changes = ([field, value]: readonly [string, unknown]) =>
    !neutral.includes(field) &&
    !fields.applied.has(field) &&
    field !== "early_stopping" &&
    !ofSampling.includes(field) &&
    !(Object.hasOwn(off, field) && off[field]!.includes(value));
  const tokens = tokensOf(fields);
  return {
    tokens,
    beams: beams > 1 ? { kind: "beam", beams, ...search } : undefined,
    ...{ search, sampling, samples },
    ...given(limits),
    unapplied: present.filter(changes).map(([field]) => field),
    unappliedInSampling: [
      ...present.filter(([field, value]) => ofSampling.includes(field) && !off[field]!.includes(value)),
      ...(beams > 1 ? [["num_beams"] as const] : []),
    ].map(([field]) => field),
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
    /** Sequences of ids. */
    words: (field: string) =>
      read(
        field,
        "a list of lists of token ids",
        (value): value is readonly (readonly number[])[] =>
          Array.isArray(value) && value.every((word) => isIds(word) && word.length > 0),
      ),
    number: (field: string) => read(field, "a number", (value): value is number => Number.isFinite(value)),
    positive: (field: string) =>
      read(field, "a number above 0", (value): value is number => Number.isFinite(value) && (value as number) > 0),
    flag: (field: string) => read(field, "true or false", (value): value is boolean => typeof value === "boolean"),
    count: (field: string, least: number) =>
      read(
        field,
        `an integer of at least ${least}`,
        (value): value is number => Number.isInteger(value) && (value as number) >= least,
      ),
  };
}

function tokensOf(fields: ReturnType<typeof fieldsOf>): TextTokens {
  const unless = <T>(off: T, value: T | undefined) => (value === off ? undefined : value);
  const tokens: { readonly [key in keyof TextTokens]: TextTokens[key] | undefined } = {
    decoderStart: fields.id("decoder_start_token_id") ?? fields.id("bos_token_id"),
    eos: fields.ids("eos_token_id"),
    forcedBos: fields.id("forced_bos_token_id"),
    forcedEos: fields.ids("forced_eos_token_id"),
    suppress: fields.ids("suppress_tokens"),
    beginSuppress: fields.ids("begin_suppress_tokens"),
    badWords: fields.words("bad_words_ids"),
    noRepeatNgram: unless(0, fields.count("no_repeat_ngram_size", 0)),
    noSourceNgram: unless(0, fields.count("encoder_no_repeat_ngram_size", 0)),
    repetitionPenalty: unless(1, fields.positive("repetition_penalty")),
    sourcePenalty: unless(1, fields.positive("encoder_repetition_penalty")),
  };
  return given(tokens) as TextTokens;
}

/** Checked where texts are sampled. A file without `top_k` keeps all tokens, where transformers keeps 50. */
function samplingOf(fields: ReturnType<typeof fieldsOf>): Partial<Sampling> {
  return given({
    temperature: fields.number("temperature"),
    topK: fields.number("top_k") || undefined,
    topP: fields.number("top_p"),
    minP: fields.number("min_p"),
    typicalP: fields.number("typical_p"),
    epsilonCutoff: fields.number("epsilon_cutoff"),
    etaCutoff: fields.number("eta_cutoff"),
  });
}

/** The entries that are defined. */
const given = <T extends object>(entries: T): { [K in keyof T]?: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(entries).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: NonNullable<T[K]>;
  };

/** What a text of a generation_config.json begins with, and how much the model takes. */
export interface TextRoom {
  /** Tokens that the decoder is given, which lengths include, as in transformers. */
  readonly begun: number;
  /** Maximum tokens of a text, `begun` among them. */
  readonly limit: number;
  /**
   * Whether the decoder attends to a source. Then `max_length` is how long a text gets; the text of a decoder alone
   * also ends at the usual length, since files give such decoders their context length.
   */
  readonly encodes: boolean;
}

/** The decoding that a generation_config.json asks for; where it says nothing, `otherwise`. */
export function storedLimits(config: GenerationConfig, otherwise: WritingLimits, room: TextRoom): WritingLimits {
  const { minLength, maxLength, beams } = config;
  const { begun, limit, encodes } = room;
  const usual = encodes && maxLength !== undefined ? Infinity : otherwise.maxNewTokens;
  const most = config.maxNewTokens ?? Math.min(usual, (maxLength ?? Infinity) - begun);
  const maxNewTokens = Math.max(1, Math.min(most, limit - begun));
  const least = Math.max(config.minNewTokens ?? 0, (minLength ?? 0) - begun);
  const given = config.minNewTokens !== undefined || minLength !== undefined;
  const minNewTokens = Math.min(given ? least : (otherwise.minNewTokens ?? 0), maxNewTokens);
  return { ...otherwise, strategy: beams ?? otherwise.strategy, maxNewTokens, minNewTokens };
}

/** A strategy with the settings of a generation_config.json that it leaves out. */
export function storedStrategy({ search, sampling }: GenerationConfig, strategy: Strategy): Strategy {
  if (strategy.kind === "greedy") return strategy;
  return strategy.kind === "beam" ? { ...search, ...strategy } : { ...sampling, ...strategy };
}
