/** Reads and writes the `config.json` files of the published checkpoints. */
import { UsageError } from "../../dsl/index.ts";
import {
  checkFields,
  configPart,
  type Fields,
  fieldNotes,
  fieldReader,
  mostLayers,
  only,
  type PublishedConfig,
  requiredPart,
  stateFromEnd,
} from "../config-fields.ts";
import { type ChatConfig, type ChatQueriesConfig, chatConfig, hasQueries, vicuna7b } from "./chat.ts";
import { chatFields, internvlFields, textFields, visionFields } from "./config-fields.ts";
import { type ContrastiveConfig, internvlCConfig } from "./contrastive.ts";
import { type GenerativeConfig, internvlGConfig } from "./generative.ts";
import { internvit6b, type VisionConfig } from "./internvit.ts";
import { chineseLlama7b, rotaryOf, type TextConfig, variantOf } from "./llama.ts";
import { type QllamaConfig, qllama8b } from "./qllama.ts";
import { readRotary, rotaryNotes, writeRotary } from "./rotary-config.ts";

export type { PublishedConfig } from "../config-fields.ts";

const [visionWhat, textWhat] = ["the vision config", "the language model's config"];
const [internvlWhat, chatWhat] = ["the InternVL config", "the chat's config"];

/** `config.json` of InternViT (model_type intern_vit_6b). */
export function readVisionConfig(json: PublishedConfig): VisionConfig {
  checkFields(json, visionFields, visionWhat);
  const { number, size } = fieldReader(json, visionWhat);
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

/** An InternViT's config in the published form. `image_size` is that of the stored positions. */
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

/** `config.json` of LLaMA, Vicuna or InternLM. `context` stays symbolic: it is the reader's choice. */
export function readTextConfig(json: PublishedConfig, fields: Fields = textFields): TextConfig {
  const { number, size, boolean } = fieldReader(json, textWhat);
  const sizeOr = (key: string, otherwise: number) => (json[key] == null ? otherwise : size(key));
  checkFields(json, fields, textWhat);
  const heads = size("num_attention_heads");
  const width = size("hidden_size");
  const [keyHeads, headDim] = [sizeOr("num_key_value_heads", heads), sizeOr("head_dim", width / heads)];
  if (heads % keyHeads !== 0)
    throw new UsageError(`${textWhat}: "num_key_value_heads" is ${keyHeads}; expected a divisor of ${heads} heads`);
  if (headDim % 2 !== 0) {
    const says = json.head_dim == null ? `"hidden_size" over "num_attention_heads"` : `"head_dim"`;
    throw new UsageError(`${textWhat}: ${says} is ${headDim}; expected an even number`);
  }
  const { base, scaling } = readRotary(json);
  return {
    ...chineseLlama7b,
    width,
    depth: size("num_hidden_layers", mostLayers),
    heads,
    mlp: size("intermediate_size"),
    vocab: size("vocab_size"),
    context: 0,
    epsilon: number("rms_norm_eps", 1e-6),
    // InternLM has biases by default.
    attentionBias: boolean(json.attention_bias == null ? "bias" : "attention_bias", json.model_type === "internlm"),
    rotaryBase: base,
    ...(scaling && { rotaryScaling: scaling }),
    ...(keyHeads !== heads && { keyHeads }),
    ...(headDim !== width / heads && { headDim }),
    ...(boolean("mlp_bias", false) && { mlpBias: true }),
    ...(boolean("tie_word_embeddings", false) && { tied: true }),
    ...(json.max_position_embeddings != null && { maxPositions: size("max_position_embeddings") }),
  };
}

/** The config of a LLaMA, or of an InternLM if attention biases are the only difference from LLaMA-1. */
export function writeTextConfig(c: TextConfig): PublishedConfig {
  const { keyHeads, headDim, mlpBias = false, tied = false, maxPositions } = variantOf(c);
  const isInternlm = c.attentionBias && keyHeads === undefined && headDim === undefined && !mlpBias && !tied;
  return {
    architectures: [isInternlm ? "InternLMForCausalLM" : "LlamaForCausalLM"],
    model_type: isInternlm ? "internlm" : "llama",
    hidden_size: c.width,
    intermediate_size: c.mlp,
    num_hidden_layers: c.depth,
    num_attention_heads: c.heads,
    ...(keyHeads !== undefined && { num_key_value_heads: keyHeads }),
    ...(headDim !== undefined && { head_dim: headDim }),
    vocab_size: c.vocab,
    ...(maxPositions !== undefined && { max_position_embeddings: maxPositions }),
    hidden_act: "silu",
    rms_norm_eps: c.epsilon,
    ...writeRotary(rotaryOf(c)),
    tie_word_embeddings: tied,
    bos_token_id: 1,
    eos_token_id: 2,
    ...(isInternlm ? { bias: true } : { attention_bias: c.attentionBias }),
    ...(mlpBias && { mlp_bias: true }),
  };
}

/** A vision config at the resolution that a checkpoint is used at. Positions keep their stored grid. */
function atForcedSize(stored: VisionConfig, json: PublishedConfig): VisionConfig {
  const forced = json.force_image_size;
  return typeof forced === "number" ? { ...stored, image: forced } : stored;
}

/** QLLaMA's part of a config: `qllama_config`, with the number of its queries beside it. */
const qllamaFields: Fields = { ...textFields, model_type: only("llama") };

function readQllamaConfig(json: PublishedConfig, what: string): QllamaConfig {
  const part = requiredPart(json, "qllama_config", what);
  return {
    ...readTextConfig(part, qllamaFields),
    context: internvlGConfig.text.context,
    queries: fieldReader(json, what).size("num_query_token"),
    crossEvery: fieldReader(part, "qllama_config").size("cross_attention_frequency"),
  };
}

/** `config.json` of InternVL-14B (model_type internvl). */
export function readGenerativeConfig(json: PublishedConfig): GenerativeConfig {
  const what = internvlWhat;
  checkFields(json, internvlFields, what);
  // The positions of a checkpoint made at a forced size are stored for that size.
  const vision = atForcedSize(readVisionConfig(requiredPart(json, "vision_config", what)), json);
  return { vision, text: readQllamaConfig(json, what), ...readPooling(json, what) };
}

/** The InternVL-C part of InternVL-14B's config. */
export function readContrastiveConfig(json: PublishedConfig): ContrastiveConfig {
  const what = internvlWhat;
  checkFields(json, internvlFields, what);
  const vision = atForcedSize(readVisionConfig(requiredPart(json, "vision_config", what)), json);
  const text = readTextConfig(requiredPart(json, "qllama_config", what), qllamaFields);
  return { vision, text: { ...text, context: internvlCConfig.text.context }, ...readPooling(json, what) };
}

function readPooling(json: PublishedConfig, what: string) {
  const { number } = fieldReader(json, what);
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

/** InternVL-C alone was not published: this is the config of InternVL-14B without what C lacks. */
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
 * The config of a chat as stored by LLaVA. LLaVA names its vision tower and leaves the sizes to the tower's own folder;
 * our file includes the tower's tensors, and so its sizes: `vision_config`, and `qllama_config` for path B.
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
 * `config.json` of an InternVL-Chat as stored by LLaVA: a language model's, with `mm_` fields. If it does not describe
 * the vision tower, that is InternViT-6B at 336 pixels, or at 448 if the tower's name says so, with positions for 224.
 */
export function readChatConfig(json: PublishedConfig): ChatConfig | ChatQueriesConfig {
  const what = chatWhat;
  const { size } = fieldReader(json, what);
  const text = { ...readTextConfig(json, chatFields), context: vicuna7b.context };
  const vision = chatVision(json);
  const features = stateFromEnd(json, "mm_vision_select_layer", vision.depth, chatConfig(text).features, what);
  if (size("mm_hidden_size") !== vision.width)
    throw new UsageError(
      `${what}: "mm_hidden_size" is ${json.mm_hidden_size}, but the vision tower has ${vision.width}`,
    );
  if (json.mm_projector_type === "two_mlp") {
    const qllama = configPart(json, "qllama_config") ? readQllamaConfig(json, what) : qllama8b;
    return { vision, text, features, qllama };
  }
  checkFields(json, { mm_projector_type: only("mlp2x_gelu", "two_mlp") }, what);
  return { vision, text, features };
}

function chatVision(json: PublishedConfig): VisionConfig {
  const tower = configPart(json, "vision_config");
  if (!tower) return { ...internvit6b, image: /448/.test(String(json.mm_vision_tower)) ? 448 : 336, positions: 224 };
  const stored = readVisionConfig(tower);
  const used = atForcedSize(stored, json);
  return used.image === stored.image ? stored : { ...used, positions: stored.image };
}

/** Messages about what a `config.json` says that has no effect here. */
export function publishedConfigNotes(json: PublishedConfig): string[] {
  const vision = configPart(json, "vision_config");
  const qllama = configPart(json, "qllama_config");
  const parts = [
    ...(vision ? fieldNotes(vision, visionFields, visionWhat) : []),
    ...(qllama ? textNotes(qllama, textFields) : []),
  ];
  if (json.model_type === "intern_vit_6b") return fieldNotes(json, visionFields, visionWhat);
  if (json.model_type === "internvl") return [...fieldNotes(json, internvlFields, internvlWhat), ...parts];
  return [...textNotes(json, json.mm_projector_type === undefined ? textFields : chatFields), ...parts];
}

const textNotes = (json: PublishedConfig, fields: Fields): string[] => [
  ...fieldNotes(json, fields, textWhat),
  ...rotaryNotes(json),
];
