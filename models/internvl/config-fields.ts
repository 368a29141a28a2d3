/** How our models treat each field of the InternVL family's published `config.json` files. */
import { all, bookkeeping, type Fields, only, trained } from "../config-fields.ts";

/** InternViT (model_type intern_vit_6b). */
export const visionFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads intermediate_size image_size patch_size drop_path_rate
     initializer_factor`,
  ),
  model_type: only("intern_vit_6b"),
  hidden_act: only("gelu"),
  qk_normalization: only(true),
  qkv_bias: only(false),
  num_channels: only(3),
  layer_norm_eps: only(1e-6),
  norm_type: only("rms_norm"),
  use_mean_pooling: only(false),
  tie_word_embeddings: "none", // there is no word embedding
  dropout: trained(0),
  attention_dropout: trained(0),
};

/** LLaMA, Vicuna and InternLM. */
export const textFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size vocab_size
     rms_norm_eps attention_bias bias mlp_bias tie_word_embeddings rope_theta rope_scaling rope_parameters rotary max_position_embeddings`,
  ),
  ...all("none", "pretraining_tp max_sequence_length original_max_position_embeddings num_query_token"),
  cross_attention_frequency: "read", // QLLaMA only
  hidden_act: only("silu", "swish"), // two names of one function
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

/** InternVL-14B (model_type internvl), except its parts. */
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

/** InternVL-Chat as stored by LLaVA: a language model's config with these in addition. */
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
