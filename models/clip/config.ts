/** The `config.json` of transformers' CLIPModel: every field that affects results is honoured, or rejected by name. */
import { type ConfigCodec, type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import {
  all,
  bookkeeping,
  checkFields,
  type Fields,
  fieldNotes,
  fieldReader,
  mostLayers,
  only,
  trained,
} from "../config-fields.ts";
import type { ClipConfig } from "./clip.ts";
import type { ClipTextConfig } from "./text.ts";
import { activations, type TransformerConfig } from "./transformer.ts";
import type { ClipVisionConfig } from "./vision.ts";

const [clipWhat, visionWhat, textWhat] = ["CLIP's config", "the vision tower's config", "the text tower's config"];

const towerFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    "hidden_size num_hidden_layers num_attention_heads intermediate_size hidden_act layer_norm_eps eos_token_id",
  ),
  // Fields of a tower alone, or of random initialization.
  ...all("none", "projection_dim initializer_factor tie_word_embeddings"),
  attention_dropout: trained(0),
  dropout: trained(0),
};
const visionFields: Fields = {
  ...towerFields,
  ...all("read", "image_size patch_size"),
  num_channels: only(3),
  model_type: only("clip_vision_model"),
};
const textFields: Fields = {
  ...towerFields,
  ...all("read", "vocab_size max_position_embeddings"),
  model_type: only("clip_text_model"),
};
const clipFields: Fields = {
  ...bookkeeping,
  ...all("read", "text_config vision_config text_config_dict vision_config_dict projection_dim"),
  ...all("none", "initializer_factor logit_scale_init_value tie_word_embeddings"),
};

/** Defaults of fields that a config.json leaves out: those of CLIPTextConfig and CLIPVisionConfig. */
const textDefaults = {
  vocab_size: 49408,
  hidden_size: 512,
  intermediate_size: 2048,
  num_hidden_layers: 12,
  num_attention_heads: 8,
  max_position_embeddings: 77,
  hidden_act: "quick_gelu",
  layer_norm_eps: 1e-5,
  eos_token_id: 49407,
};
const visionDefaults = {
  hidden_size: 768,
  intermediate_size: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  image_size: 224,
  patch_size: 32,
  hidden_act: "quick_gelu",
  layer_norm_eps: 1e-5,
};

const isRecord = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A tower's fields: if the older name is present it takes precedence, with all its defaults. */
function towerOf(json: JsonRecord, name: "text_config" | "vision_config", defaults: JsonRecord): JsonRecord {
  const [fields, older] = [name, `${name}_dict`].map((key) => {
    const value = json[key] ?? undefined;
    if (value === undefined || isRecord(value)) return value as JsonRecord | undefined;
    throw new UsageError(`"${key}" is ${shown(value)}; expected an object`);
  });
  return { ...defaults, ...fields, ...(older && { ...defaults, ...older }) };
}

function activationOf(json: JsonRecord, what: string): string {
  const value = json.hidden_act;
  if (typeof value === "string" && Object.hasOwn(activations, value)) return value;
  throw new UsageError(
    `${what}: "hidden_act" is ${shown(value ?? null)}; expected one of ${Object.keys(activations).join(", ")}`,
  );
}

function readTower(json: JsonRecord, what: string): TransformerConfig {
  const { number, size } = fieldReader(json, what);
  return {
    width: size("hidden_size"),
    depth: size("num_hidden_layers", mostLayers),
    heads: size("num_attention_heads"),
    mlp: size("intermediate_size"),
    activation: activationOf(json, what),
    epsilon: number("layer_norm_eps"),
  };
}

/** The EOS id in older files, which is wrong: transformers then takes the largest id of a text. */
const largestId = 2;

function readClip(json: JsonRecord): ClipConfig {
  checkFields(json, clipFields, clipWhat);
  const [vision, text] = towers(json);
  checkFields(text, textFields, textWhat);
  const { size } = fieldReader(text, textWhat);
  const eos = size("eos_token_id"); // our 0 stands for the largest id
  return {
    vision: readVisionConfig(vision),
    text: {
      ...readTower(text, textWhat),
      vocab: size("vocab_size"),
      context: size("max_position_embeddings"),
      eos: eos === largestId ? 0 : eos,
    },
    embed: fieldReader({ projection_dim: 512, ...json }, clipWhat).size("projection_dim"),
  };
}

/** A vision tower's own config. Throws UsageError naming an unsupported field. */
export function readVisionConfig(json: JsonRecord): ClipVisionConfig {
  checkFields(json, visionFields, visionWhat);
  const seen = { ...visionDefaults, ...json };
  const { size } = fieldReader(seen, visionWhat);
  return { ...readTower(seen, visionWhat), image: size("image_size"), patch: size("patch_size") };
}

export const visionFieldNotes = (json: JsonRecord): string[] => fieldNotes(json, visionFields, visionWhat);

const towers = (json: JsonRecord) =>
  [towerOf(json, "vision_config", visionDefaults), towerOf(json, "text_config", textDefaults)] as const;

const writeTower = (c: TransformerConfig): JsonRecord => ({
  hidden_size: c.width,
  num_hidden_layers: c.depth,
  num_attention_heads: c.heads,
  intermediate_size: c.mlp,
  hidden_act: c.activation,
  layer_norm_eps: c.epsilon,
});

export const writeVisionConfig = (c: ClipVisionConfig): JsonRecord => ({
  model_type: "clip_vision_model",
  ...writeTower(c),
  image_size: c.image,
  patch_size: c.patch,
});

const writeText = (c: ClipTextConfig, embed: number): JsonRecord => ({
  model_type: "clip_text_model",
  ...writeTower(c),
  vocab_size: c.vocab,
  max_position_embeddings: c.context,
  eos_token_id: c.eos === 0 ? largestId : c.eos,
  projection_dim: embed,
});

export const clipCodec: ConfigCodec<ClipConfig> = {
  types: ["clip"],
  incidental: ["text.eos"], // older files store it differently
  read: readClip,
  notes: (json) => {
    const [vision, text] = towers(json);
    return [
      ...fieldNotes(json, clipFields, clipWhat),
      ...visionFieldNotes(vision),
      ...fieldNotes(text, textFields, textWhat),
    ];
  },
  // An EOS of 2 has another meaning there.
  write: (c) =>
    c.text.eos === largestId
      ? undefined
      : {
          architectures: ["CLIPModel"],
          model_type: "clip",
          projection_dim: c.embed,
          vision_config: { ...writeVisionConfig(c.vision), projection_dim: c.embed },
          text_config: writeText(c.text, c.embed),
        },
};
