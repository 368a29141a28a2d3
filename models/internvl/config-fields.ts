/**
 * What each field of a published `config.json` is to our models: read, without effect on numbers, or known with some values
 * only. Fields that are not in these tables are told, never passed over in silence.
 */
import { shown, UsageError } from "../../dsl/index.ts";

/** A parsed `config.json`, or a record in one. */
export type PublishedConfig = Readonly<Record<string, unknown>>;

/**
 * "read": a setting of ours. "none": changes no number. `only`: other values than these are refused. `trained`: acts while
 * training, where ours has one of these values; another is told.
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

/** Of every config of transformers: who made it, what generation and task heads begin with. */
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
  // The weights would lie otherwise, or there would be more of them.
  quantization_config: only(null),
  pruned_heads: only(null),
  add_cross_attention: only(false),
  cross_attention_hidden_size: only(null),
};

/** InternViT (model_type intern_vit_6b). */
export const visionFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads intermediate_size image_size patch_size drop_path_rate
     initializer_factor`,
  ),
  hidden_act: only("gelu"),
  qk_normalization: only(true),
  qkv_bias: only(false),
  num_channels: only(3),
  layer_norm_eps: only(1e-6),
  norm_type: only("rms_norm"),
  use_mean_pooling: only(false),
  tie_word_embeddings: "none", // there are no words
  dropout: trained(0),
  attention_dropout: trained(0),
};

/** LLaMA, Vicuna and InternLM; the reader adds what depends on the sizes. */
export const textFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads intermediate_size vocab_size rms_norm_eps attention_bias bias
     mlp_bias rope_theta rope_scaling rope_parameters rotary max_position_embeddings`,
  ),
  ...all("none", "pretraining_tp max_sequence_length original_max_position_embeddings num_query_token"),
  cross_attention_frequency: "read", // of a QLLaMA
  hidden_act: only("silu", "swish"), // two names of one function
  tie_word_embeddings: only(false),
  partial_rotary_factor: only(1),
  sliding_window: only(null),
  use_sliding_window: only(false),
  layer_types: only(null),
  per_layer_config: only(null),
  attention_dropout: trained(0),
  ...all(only(null), "attn_logit_softcapping final_logit_softcapping query_pre_attn_scalar clip_qkv"),
  ...all(only(null, 1), "embedding_multiplier residual_multiplier attention_multiplier logits_scaling logit_scale"),
  ...all(only(null, false), "qk_layernorm use_qk_norm qkv_bias parallel_residual use_parallel_residual"),
};

/** InternVL-14B (model_type internvl), but for its parts. */
export const internvlFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `vision_config qllama_config num_query_token clip_embed_dim attn_pool_num_heads force_image_size
     cross_attention_frequency`,
  ),
  ...all("none", "hidden_size max_txt_len tie_word_embeddings"),
  use_backbone_lora: only(0),
  use_qllama_lora: only(0),
  label_smoothing: trained(0),
};

/** InternVL-Chat as LLaVA keeps it: a language model's config with these besides. */
export const chatFields: Fields = {
  ...textFields,
  ...all(
    "read",
    `mm_hidden_size mm_projector_type mm_vision_select_layer mm_vision_tower force_image_size vision_config
     qllama_config num_query_token`,
  ),
  ...all(
    "none",
    `mm_use_im_patch_token mm_projector_lr mm_vision_tower_lr use_mm_proj mm_resampler_type tune_mm_mlp_adapter
     freeze_mm_mlp_adapter pretrain_mm_mlp_adapter tune_vit_pos_embedding unfreeze_mm_vision_tower tokenizer_padding_side
     tokenizer_model_max_length image_grid_pinpoints`,
  ),
  mm_vision_select_feature: only("patch"),
  mm_use_im_start_end: only(false),
  mm_patch_merge_type: only("flat"),
  image_aspect_ratio: only("pad"),
};

const says = (value: unknown): boolean => value !== undefined && value !== null && value !== false;
const holds = (values: readonly unknown[], value: unknown): boolean =>
  values.includes(value) || (typeof value === "object" && value !== null && Object.keys(value).length === 0);

/** Throws one UsageError that names every field with a value that our models have no way of. */
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
  return known.length === 0 ? "it is not known" : `only ${known.join(" or ")} is known`;
}

/** What a user should know of a config that is read: fields that nothing here obeys. */
export function fieldNotes(json: PublishedConfig, fields: Fields, what: string): string[] {
  return Object.entries(json).flatMap(([key, value]) => {
    const field = Object.hasOwn(fields, key) ? fields[key]! : undefined;
    if (field === undefined) return says(value) ? [`${what}: "${key}" (${shown(value)}) is not known, nor obeyed`] : [];
    if (typeof field === "string" || !("trained" in field) || !says(value) || holds(field.trained, value)) return [];
    return [`${what}: "${key}" is ${shown(value)}; heddle trains with ${shown(field.trained[0])}`];
  });
}
