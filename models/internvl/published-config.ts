/** The `config.json` files of the published checkpoints, read into our configurations and written from them. */
import { UsageError } from "../../dsl/index.ts";
import { type ChatConfig, hasQueries } from "./chat.ts";
import { type ContrastiveConfig, internvlCConfig } from "./contrastive.ts";
import { type GenerativeConfig, internvlGConfig } from "./generative.ts";
import { internvit6b, type VisionConfig } from "./internvit.ts";
import { chineseLlama7b, type TextConfig } from "./llama.ts";
import type { QllamaConfig } from "./qllama.ts";

/** A parsed `config.json`. */
export type PublishedConfig = Readonly<Record<string, unknown>>;

/** Reads fields of a config, each of one kind; throws UsageError naming the field that is missing or of another kind. */
function reader(json: PublishedConfig, what: string) {
  const field = (key: string, kind: "number" | "boolean" | "string", otherwise?: number | boolean | string) => {
    const value = json[key] ?? otherwise;
    if (typeof value === kind) return value;
    const found = value === undefined ? "missing" : JSON.stringify(value);
    throw new UsageError(`${what}: "${key}" is ${found}, a ${kind} is needed`);
  };
  return {
    number: (key: string, otherwise?: number) => field(key, "number", otherwise) as number,
    boolean: (key: string, otherwise?: boolean) => field(key, "boolean", otherwise) as boolean,
    /** A choice that our models have one way of. */
    only: (key: string, expected: string | boolean | number) => {
      const value = json[key];
      if (value === undefined || value === null || value === expected) return;
      throw new UsageError(`${what}: "${key}" is ${JSON.stringify(value)}; only ${JSON.stringify(expected)} is known`);
    },
    /** A variation that our models do not have. */
    absent: (key: string) => {
      if (json[key] !== undefined && json[key] !== null)
        throw new UsageError(`${what}: "${key}" is ${JSON.stringify(json[key])}, which is not known`);
    },
  };
}

/** `config.json` of InternViT (model_type intern_vit_6b). */
export function readVisionConfig(json: PublishedConfig): VisionConfig {
  const { number, only } = reader(json, "the vision config");
  only("hidden_act", "gelu");
  only("qk_normalization", true);
  only("qkv_bias", false);
  only("num_channels", 3);
  only("layer_norm_eps", 1e-6);
  only("norm_type", "rms_norm");
  return {
    ...internvit6b,
    width: number("hidden_size"),
    depth: number("num_hidden_layers"),
    heads: number("num_attention_heads"),
    mlp: number("intermediate_size"),
    image: number("image_size"),
    patch: number("patch_size"),
    dropPath: number("drop_path_rate", 0),
    dropPathRule: "linear",
    layerScale: number("initializer_factor", internvit6b.layerScale),
  };
}

/** The config of an InternViT as the published ones have it. `image_size` is the size that the positions are stored for. */
export const writeVisionConfig = (c: VisionConfig): PublishedConfig => ({
  architectures: ["InternVisionModel"],
  model_type: "intern_vit_6b",
  hidden_size: c.width,
  intermediate_size: c.mlp,
  num_hidden_layers: c.depth,
  num_attention_heads: c.heads,
  num_channels: 3,
  image_size: c.positions === 0 ? c.image : c.positions,
  patch_size: c.patch,
  hidden_act: "gelu",
  layer_norm_eps: 1e-6,
  qkv_bias: false,
  qk_normalization: true,
  dropout: 0,
  attention_dropout: 0,
  drop_path_rate: c.dropPath,
  initializer_factor: c.layerScale,
  initializer_range: 1e-10,
});

/** `config.json` of LLaMA, Vicuna or InternLM. `context` is left open: it is the reader's choice. */
export function readTextConfig(json: PublishedConfig): TextConfig {
  const { number, boolean, only, absent } = reader(json, "the language model's config");
  only("hidden_act", "silu");
  only("tie_word_embeddings", false);
  absent("rope_scaling");
  const heads = number("num_attention_heads");
  only("num_key_value_heads", heads);
  const rope = json.rope_parameters as PublishedConfig | undefined;
  return {
    ...chineseLlama7b,
    width: number("hidden_size"),
    depth: number("num_hidden_layers"),
    heads,
    mlp: number("intermediate_size"),
    vocab: number("vocab_size"),
    context: 0,
    epsilon: number("rms_norm_eps", 1e-6),
    attentionBias: boolean(json.model_type === "internlm" ? "bias" : "attention_bias", false),
    rotaryBase: rope ? reader(rope, "rope_parameters").number("rope_theta") : number("rope_theta", 10000),
  };
}

/** The config of a LLaMA, or, where attention has biases, of an InternLM. */
export const writeTextConfig = (c: TextConfig): PublishedConfig => ({
  architectures: [c.attentionBias ? "InternLMForCausalLM" : "LlamaForCausalLM"],
  model_type: c.attentionBias ? "internlm" : "llama",
  hidden_size: c.width,
  intermediate_size: c.mlp,
  num_hidden_layers: c.depth,
  num_attention_heads: c.heads,
  vocab_size: c.vocab,
  hidden_act: "silu",
  rms_norm_eps: c.epsilon,
  rope_theta: c.rotaryBase,
  tie_word_embeddings: false,
  bos_token_id: 1,
  eos_token_id: 2,
  ...(c.attentionBias ? { bias: true } : { attention_bias: false }),
});

/** `config.json` of InternVL-14B (model_type internvl). */
export function readGenerativeConfig(json: PublishedConfig): GenerativeConfig {
  const { number } = reader(json, "the InternVL config");
  const [vision, text] = ["vision_config", "qllama_config"].map((key) => {
    const part = json[key];
    if (typeof part === "object" && part !== null) return part as PublishedConfig;
    throw new UsageError(`the InternVL config: "${key}" is missing, a record is needed`);
  });
  const stored = readVisionConfig(vision!);
  const forced = json.force_image_size;
  const qllama: QllamaConfig = {
    ...readTextConfig(text!),
    context: internvlGConfig.text.context,
    queries: number("num_query_token"),
    crossEvery: reader(text!, "qllama_config").number("cross_attention_frequency"),
  };
  return {
    // A checkpoint made at a forced size has its positions stored for that size.
    vision: typeof forced === "number" ? { ...stored, image: forced } : stored,
    text: qllama,
    embed: number("clip_embed_dim", internvlCConfig.embed),
    poolingHeads: number("attn_pool_num_heads", internvlCConfig.poolingHeads),
  };
}

export const writeGenerativeConfig = (c: GenerativeConfig): PublishedConfig => ({
  architectures: ["InternVLModel"],
  model_type: "internvl",
  hidden_size: c.text.width,
  clip_embed_dim: c.embed,
  attn_pool_num_heads: c.poolingHeads,
  num_query_token: c.text.queries,
  label_smoothing: 0,
  force_image_size: null,
  initializer_range: 0.02,
  max_txt_len: 32,
  qllama_config: { ...writeTextConfig(c.text), cross_attention_frequency: c.text.crossEvery },
  vision_config: writeVisionConfig(c.vision),
});

/** InternVL-C alone was not published: the config of InternVL-14B without what C does not have. */
export const writeContrastiveConfig = (c: ContrastiveConfig): PublishedConfig => ({
  architectures: ["InternVLModel"],
  model_type: "internvl",
  hidden_size: c.text.width,
  clip_embed_dim: c.embed,
  attn_pool_num_heads: c.poolingHeads,
  num_query_token: 0,
  qllama_config: writeTextConfig(c.text),
  vision_config: writeVisionConfig(c.vision),
});

/**
 * The config of a chat as LLaVA keeps it. LLaVA names its vision tower and leaves its sizes to the tower's own folder; the
 * tower's tensors are in ours, so are its sizes: `vision_config`, and `qllama_config` for path B.
 */
export const writeChatConfig = (c: ChatConfig): PublishedConfig => ({
  ...writeTextConfig(c.text),
  architectures: ["LlavaLlamaForCausalLM"],
  model_type: "llava",
  mm_hidden_size: c.vision.width,
  mm_projector_type: hasQueries(c) ? "two_mlp" : "mlp2x_gelu",
  mm_vision_select_layer: c.features,
  mm_vision_select_feature: "patch",
  mm_use_im_start_end: false,
  mm_use_im_patch_token: false,
  image_aspect_ratio: "pad",
  force_image_size: c.vision.image,
  vision_config: writeVisionConfig(c.vision),
  ...(hasQueries(c) && {
    num_query_token: c.qllama.queries,
    qllama_config: { ...writeTextConfig(c.qllama), cross_attention_frequency: c.qllama.crossEvery },
  }),
});
