/** The `config.json` files of the published checkpoints, read into our configurations and written from them. */
import { shown, UsageError } from "../../dsl/index.ts";
import { type ChatConfig, type ChatQueriesConfig, chatConfig, hasQueries, vicuna7b } from "./chat.ts";
import { type ContrastiveConfig, internvlCConfig } from "./contrastive.ts";
import { type GenerativeConfig, internvlGConfig } from "./generative.ts";
import { internvit6b, type VisionConfig } from "./internvit.ts";
import { chineseLlama7b, type TextConfig } from "./llama.ts";
import { type QllamaConfig, qllama8b } from "./qllama.ts";

/** A parsed `config.json`. */
export type PublishedConfig = Readonly<Record<string, unknown>>;

/** Layers that a model may have: more are a damaged file, and would be traced one by one. */
const mostLayers = 1024;

/** Reads fields of a config, each of one kind; throws UsageError naming the field that is missing or of another kind. */
function reader(json: PublishedConfig, what: string) {
  const field = (key: string, kind: "number" | "boolean" | "string", otherwise?: number | boolean | string) => {
    const value = json[key] ?? otherwise;
    if (typeof value === kind) return value;
    const found = value === undefined ? "missing" : shown(value);
    throw new UsageError(`${what}: "${key}" is ${found}, a ${kind} is needed`);
  };
  return {
    number: (key: string, otherwise?: number) => field(key, "number", otherwise) as number,
    /** A whole number from 1 on that a size may be. */
    size: (key: string, most = 2 ** 24) => {
      const value = field(key, "number") as number;
      if (Number.isInteger(value) && value >= 1 && value <= most) return value;
      throw new UsageError(`${what}: "${key}" is ${value}, a whole number from 1 to ${most} is needed`);
    },
    boolean: (key: string, otherwise?: boolean) => field(key, "boolean", otherwise) as boolean,
    /** A choice that our models have one way of. */
    only: (key: string, expected: string | boolean | number) => {
      const value = json[key];
      if (value === undefined || value === null || value === expected) return;
      throw new UsageError(`${what}: "${key}" is ${shown(value)}; only ${JSON.stringify(expected)} is known`);
    },
    /** A variation that our models do not have. */
    absent: (key: string) => {
      if (json[key] !== undefined && json[key] !== null)
        throw new UsageError(`${what}: "${key}" is ${shown(json[key])}, which is not known`);
    },
  };
}

/** `config.json` of InternViT (model_type intern_vit_6b). */
export function readVisionConfig(json: PublishedConfig): VisionConfig {
  const { number, size, only } = reader(json, "the vision config");
  only("hidden_act", "gelu");
  only("qk_normalization", true);
  only("qkv_bias", false);
  only("num_channels", 3);
  only("layer_norm_eps", 1e-6);
  only("norm_type", "rms_norm");
  return {
    ...internvit6b,
    width: size("hidden_size"),
    depth: size("num_hidden_layers", mostLayers),
    heads: size("num_attention_heads"),
    mlp: size("intermediate_size"),
    image: size("image_size"),
    patch: size("patch_size"),
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
  const { number, size, boolean, only, absent } = reader(json, "the language model's config");
  only("hidden_act", "silu");
  only("tie_word_embeddings", false);
  absent("rope_scaling");
  const heads = size("num_attention_heads");
  only("num_key_value_heads", heads);
  const rope = partOf(json, "rope_parameters");
  return {
    ...chineseLlama7b,
    width: size("hidden_size"),
    depth: size("num_hidden_layers", mostLayers),
    heads,
    mlp: size("intermediate_size"),
    vocab: size("vocab_size"),
    context: 0,
    epsilon: number("rms_norm_eps", 1e-6),
    attentionBias: boolean(json.attention_bias === undefined ? "bias" : "attention_bias", false),
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

/** A record inside a config; undefined where there is none. */
function partOf(json: PublishedConfig, key: string): PublishedConfig | undefined {
  const part = json[key];
  return typeof part === "object" && part !== null ? (part as PublishedConfig) : undefined;
}

function requiredPart(json: PublishedConfig, key: string, what: string): PublishedConfig {
  const part = partOf(json, key);
  if (part) return part;
  throw new UsageError(`${what}: "${key}" is missing, a record is needed`);
}

/** A vision config with the resolution that a checkpoint is used at. Positions stay as they are stored. */
function atForcedSize(stored: VisionConfig, json: PublishedConfig): VisionConfig {
  const forced = json.force_image_size;
  return typeof forced === "number" ? { ...stored, image: forced } : stored;
}

/** QLLaMA's part of a config: `qllama_config`, and the number of its queries beside it. */
function readQllamaConfig(json: PublishedConfig, what: string): QllamaConfig {
  const part = requiredPart(json, "qllama_config", what);
  return {
    ...readTextConfig(part),
    context: internvlGConfig.text.context,
    queries: reader(json, what).size("num_query_token"),
    crossEvery: reader(part, "qllama_config").size("cross_attention_frequency"),
  };
}

/** `config.json` of InternVL-14B (model_type internvl). */
export function readGenerativeConfig(json: PublishedConfig): GenerativeConfig {
  const what = "the InternVL config";
  // A checkpoint made at a forced size has its positions stored for that size.
  const vision = atForcedSize(readVisionConfig(requiredPart(json, "vision_config", what)), json);
  return { vision, text: readQllamaConfig(json, what), ...readPooling(json, what) };
}

/** Of InternVL-14B what InternVL-C has. */
export function readContrastiveConfig(json: PublishedConfig): ContrastiveConfig {
  const what = "the InternVL config";
  const vision = atForcedSize(readVisionConfig(requiredPart(json, "vision_config", what)), json);
  const text = readTextConfig(requiredPart(json, "qllama_config", what));
  return { vision, text: { ...text, context: internvlCConfig.text.context }, ...readPooling(json, what) };
}

function readPooling(json: PublishedConfig, what: string) {
  const { number } = reader(json, what);
  return {
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

/**
 * `config.json` of an InternVL-Chat as LLaVA keeps it: a language model's, with `mm_` fields. Where it says nothing of the
 * vision tower, that is InternViT-6B at 336 pixels, or 448 where the tower's name says so, its positions for 224.
 */
export function readChatConfig(json: PublishedConfig): ChatConfig | ChatQueriesConfig {
  const what = "the chat's config";
  const { only, size, number } = reader(json, what);
  only("mm_vision_select_feature", "patch");
  only("mm_use_im_start_end", false);
  const text = { ...readTextConfig(json), context: vicuna7b.context };
  const vision = chatVision(json);
  const features = number("mm_vision_select_layer", chatConfig(text).features);
  if (!Number.isInteger(features) || features >= 0 || features < -vision.depth - 1)
    throw new UsageError(`${what}: "mm_vision_select_layer" is ${features}, -1 to ${-vision.depth - 1} is needed`);
  if (size("mm_hidden_size") !== vision.width)
    throw new UsageError(`${what}: "mm_hidden_size" is ${json.mm_hidden_size}, the vision tower has ${vision.width}`);
  if (json.mm_projector_type === "two_mlp") {
    const qllama = partOf(json, "qllama_config") ? readQllamaConfig(json, what) : qllama8b;
    return { vision, text, features, qllama };
  }
  only("mm_projector_type", "mlp2x_gelu");
  return { vision, text, features };
}

function chatVision(json: PublishedConfig): VisionConfig {
  const tower = partOf(json, "vision_config");
  if (!tower) return { ...internvit6b, image: /448/.test(String(json.mm_vision_tower)) ? 448 : 336, positions: 224 };
  const stored = readVisionConfig(tower);
  const used = atForcedSize(stored, json);
  return used.image === stored.image ? stored : { ...used, positions: stored.image };
}
