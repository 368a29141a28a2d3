/**
 * OpenCLIP's `open_clip_config.json`: a `model_cfg` of both towers, and a `preprocess_cfg`. Every field that affects
 * results is honoured, or rejected by name. Defaults are those of CLIPVisionCfg and CLIPTextCfg of open_clip 3.3.
 */
import { type ConfigFile, type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import {
  all,
  checkFields,
  configPart,
  type Fields,
  fieldNotes,
  fieldReader,
  mostLayers,
  only,
  requiredPart,
  trained,
} from "../config-fields.ts";
import type { ClipTextConfig } from "./text.ts";
import type { TransformerConfig } from "./transformer.ts";

const [fileWhat, modelWhat, textWhat] = ["OpenCLIP's config", "model_cfg", "text_cfg"];

export const openClipFile: ConfigFile = { name: "open_clip_config.json", field: "model_cfg", typeOf };

/** The kind of model, by its image tower if that is supported; undefined for a file of another form. */
function typeOf(json: JsonRecord): string | undefined {
  const { vision_cfg: vision, text_cfg: text, multimodal_cfg: decoder } = Object(json.model_cfg) as JsonRecord;
  if (typeof vision !== "object" || vision === null) return undefined;
  const { timm_model_name: tower, layers } = vision as JsonRecord;
  if (decoder !== undefined) return "CoCa";
  const { hf_model_name: encoder } = Object(text) as JsonRecord;
  if (encoder) return `${nameOf(encoder)} as text tower`;
  if (tower) return /^eva(02)?_/.test(nameOf(tower)) ? "eva-clip" : `timm's ${nameOf(tower)}`;
  return Array.isArray(layers) ? "clip-resnet" : "clip";
}

const nameOf = (value: unknown): string => (typeof value === "string" ? value : shown(value));

const fileFields = all("read", "model_cfg preprocess_cfg");
const modelFields: Fields = {
  ...all("read", "embed_dim vision_cfg text_cfg quick_gelu"),
  ...all("none", "custom_text init_logit_scale output_dict cast_dtype"),
  init_logit_bias: only(null),
  nonscalar_logit_scale: only(false),
  multimodal_cfg: only(null),
};
/** Fields of both towers that would change them. */
const blockFields: Fields = {
  ...all("none", "output_tokens"),
  ls_init_value: only(null),
  act_kwargs: only(null),
  norm_kwargs: "read",
  block_type: only(null, "default"),
  ...all(
    only(false),
    "qk_norm scaled_cosine_attn scale_heads scale_attn_inner scale_attn scale_fc final_ln_after_pool",
  ),
};
const textFields: Fields = {
  ...blockFields,
  ...all("read", "context_length vocab_size width heads layers mlp_ratio pool_type eos_id"),
  ...all("none", "pad_id hf_tokenizer_name hf_model_pretrained hf_proj_type hf_pooler_type"),
  ...all(only(null), "tokenizer_mode tokenizer_kwargs hf_model_name"),
  ...all(only(false), "embed_cls no_causal_mask proj_bias"),
  pool_type: only("argmax", "eos"),
  proj_type: only("linear"),
};
/** Fields of an image tower of OpenCLIP's own. */
export const openVisionFields: Fields = {
  ...blockFields,
  ...all("read", "layers width head_width mlp_ratio patch_size image_size"),
  ...all("none", "attn_pooler_queries attn_pooler_heads"),
  ...all("none", "timm_model_pretrained timm_pool timm_proj timm_proj_bias timm_drop timm_drop_path"),
  ...all(only(false), "attentional_pool no_ln_pre"),
  patch_dropout: trained(0),
  pos_embed_type: only("learnable"),
  pool_type: only("tok"),
  timm_model_name: only(null),
};

/** The parts of a file, checked except for the image tower. */
export interface OpenParts {
  readonly vision: JsonRecord;
  readonly text: ClipTextConfig;
  readonly embed: number;
  readonly activation: string;
}

/** The towers of a file. Throws UsageError naming an unsupported field. */
export function readOpenClip(json: JsonRecord): OpenParts {
  checkFields(json, fileFields, fileWhat);
  const model = requiredPart(json, "model_cfg", fileWhat);
  checkFields(model, modelFields, modelWhat);
  const activation = fieldReader(model, modelWhat).boolean("quick_gelu", false) ? "quick_gelu" : "gelu";
  return {
    vision: requiredPart(model, "vision_cfg", modelWhat),
    text: readText(requiredPart(model, "text_cfg", modelWhat), activation),
    embed: fieldReader(model, modelWhat).size("embed_dim"),
    activation,
  };
}

function readText(given: JsonRecord, activation: string): ClipTextConfig {
  checkFields(given, textFields, textWhat);
  const json = { context_length: 77, vocab_size: 49408, width: 512, heads: 8, layers: 12, eos_id: 2, ...given };
  const { size } = fieldReader(json, textWhat);
  return {
    ...readBlocks(json, textWhat, activation),
    heads: size("heads"),
    vocab: size("vocab_size"),
    context: size("context_length"),
    eos: given.pool_type === "eos" ? size("eos_id") : 0,
  };
}

/** A tower's transformer but its heads. */
export interface Blocks {
  readonly width: number;
  readonly depth: number;
  readonly mlp: number;
  readonly activation: string;
  readonly epsilon: number;
}

/** The sizes of a tower's transformer but its heads. `json` has its width and layers. */
export function readBlocks(json: JsonRecord, what: string, activation: string): Blocks {
  const { number, size } = fieldReader(json, what);
  const width = size("width");
  const norm = configPart(json, "norm_kwargs") ?? {};
  checkFields(norm, { eps: "read", elementwise_affine: only(true), bias: only(true) }, `${what}.norm_kwargs`);
  return {
    width,
    depth: size("layers", mostLayers),
    mlp: Math.trunc(width * number("mlp_ratio", 4)),
    activation,
    epsilon: fieldReader(norm, `${what}.norm_kwargs`).number("eps", usualEpsilon),
  };
}

const usualEpsilon = 1e-5;

/** Side of the square image. */
export function readSide(json: JsonRecord, what: string): number {
  const { image_size: given } = json;
  const pair = Array.isArray(given) ? given : [given, given];
  if (pair.length !== 2 || pair[0] !== pair[1])
    throw new UsageError(`${what}: "image_size" is ${shown(given)}; only squares are supported`);
  return fieldReader({ image_size: pair[0] }, what).size("image_size");
}

export const openFieldNotes = (json: JsonRecord, visionFields: Fields, visionWhat: string): string[] => {
  const model = requiredPart(json, "model_cfg", fileWhat);
  return [
    ...fieldNotes(json, fileFields, fileWhat),
    ...fieldNotes(model, modelFields, modelWhat),
    ...fieldNotes(requiredPart(model, "vision_cfg", modelWhat), visionFields, visionWhat),
    ...fieldNotes(requiredPart(model, "text_cfg", modelWhat), textFields, textWhat),
  ];
};

/** How OpenCLIP preprocesses images unless told otherwise. */
const preprocess = {
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
  interpolation: "bicubic",
  resize_mode: "shortest",
};

/** The file of towers; undefined if it cannot express them. `custom` keeps the tensors of texts under `text`. */
export function writeOpenClip(
  vision: JsonRecord | undefined,
  text: ClipTextConfig,
  embed: number,
  custom = false,
): JsonRecord | undefined {
  const blocks = writeBlocks(text);
  if (!vision || !blocks) return undefined;
  const isLast = text.eos === 0 || text.eos === text.vocab - 1;
  const said = { context_length: text.context, vocab_size: text.vocab, ...blocks, heads: text.heads };
  return {
    model_cfg: {
      embed_dim: embed,
      ...(text.activation === "quick_gelu" && { quick_gelu: true }),
      vision_cfg: vision,
      text_cfg: { ...said, ...(!isLast && { pool_type: "eos", eos_id: text.eos }) },
      ...(custom && { custom_text: true }),
    },
    preprocess_cfg: preprocess,
  };
}

/** The fields of a tower's transformer but its heads; undefined if no ratio gives the MLP's width. */
function writeBlocks(c: TransformerConfig): JsonRecord | undefined {
  const ratio = c.mlp / c.width;
  if (Math.trunc(c.width * ratio) !== c.mlp) return undefined;
  return {
    width: c.width,
    layers: c.depth,
    ...(ratio !== 4 && { mlp_ratio: ratio }),
    ...(c.epsilon !== usualEpsilon && { norm_kwargs: { eps: c.epsilon } }),
  };
}
