/** The `config.json` of LLaVA-1.5, in transformers' form and in the authors'. */
import { type ConfigCodec, shown, UsageError } from "../../dsl/index.ts";
import {
  all,
  bookkeeping,
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
  trained,
} from "../config-fields.ts";
import {
  chatFields,
  readTextConfig,
  seesThroughClip,
  textFields,
  vicuna7b,
  writeTextConfig,
} from "../internvl/index.ts";
import { type ClipVisionConfig, clipLarge336 } from "./clip-vision.ts";
import { type LlavaConfig, llava7b } from "./llava.ts";

const [what, visionWhat, textWhat] = ["LLaVA's config", "the vision config", "the language model's config"];

const fields: Fields = {
  ...bookkeeping,
  ...all("read", "vision_config text_config image_token_index vision_feature_layer"),
  ...all("none", "image_seq_length ignore_index vocab_size pad_token_id"),
  projector_hidden_act: only("gelu"),
  multimodal_projector_bias: only(true),
  vision_feature_select_strategy: only("default"),
  tie_word_embeddings: only(false),
};

const visionFields: Fields = {
  ...bookkeeping,
  model_type: only("clip_vision_model"),
  ...all(
    "read",
    "hidden_size num_hidden_layers num_attention_heads intermediate_size image_size patch_size layer_norm_eps",
  ),
  ...all("none", "projection_dim vocab_size initializer_factor"), // of CLIP's heads
  hidden_act: only("quick_gelu"),
  num_channels: only(3),
  attention_dropout: trained(0),
};

/** transformers' defaults for fields missing in LLaVA's config: the published ones leave most out. */
const [visionDefaults, textDefaults] = [
  {
    hidden_size: 1024,
    num_hidden_layers: 24,
    num_attention_heads: 16,
    intermediate_size: 4096,
    image_size: 336,
    patch_size: 14,
  },
  {
    hidden_size: 4096,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    intermediate_size: 11008,
    vocab_size: 32000,
  },
];

function readVision(json: PublishedConfig): ClipVisionConfig {
  checkFields(json, visionFields, visionWhat);
  const { number, size } = fieldReader({ ...visionDefaults, ...json }, visionWhat);
  return {
    width: size("hidden_size"),
    depth: size("num_hidden_layers", mostLayers),
    heads: size("num_attention_heads"),
    mlp: size("intermediate_size"),
    image: size("image_size"),
    patch: size("patch_size"),
    epsilon: number("layer_norm_eps", 1e-5),
  };
}

const writeVision = (c: ClipVisionConfig): PublishedConfig => ({
  model_type: "clip_vision_model",
  hidden_size: c.width,
  num_hidden_layers: c.depth,
  num_attention_heads: c.heads,
  intermediate_size: c.mlp,
  image_size: c.image,
  patch_size: c.patch,
  layer_norm_eps: c.epsilon,
  hidden_act: "quick_gelu",
});

/** transformers ties the output matrix if LLaVA's config says so, whatever the language model's does. */
const llamaFields: Fields = { ...textFields, tie_word_embeddings: only(false) };

const withContext = (json: PublishedConfig, known?: Fields) => ({
  ...readTextConfig(json, known),
  context: vicuna7b.context,
});

/** transformers' form: an object for each tower. */
function readHub(json: PublishedConfig): LlavaConfig {
  checkFields(json, fields, what);
  const text = requiredPart(json, "text_config", what);
  if (text.model_type !== undefined && text.model_type !== "llama")
    throw new UsageError(`${textWhat}: "model_type" is ${shown(text.model_type)}; only "llama" is supported`);
  const { number } = fieldReader(json, what);
  const vision = readVision(requiredPart(json, "vision_config", what));
  return {
    vision,
    text: withContext({ ...textDefaults, ...text }, llamaFields),
    features: stateFromEnd(json, "vision_feature_layer", vision.depth, -2, what),
    imageToken: number("image_token_index", 32000),
  };
}

/** The authors' form: a language model's config with `mm_` fields, and the tower's name. */
function readOriginal(json: PublishedConfig): LlavaConfig {
  const text = withContext(json, chatFields);
  checkFields(json, { mm_projector_type: only("mlp2x_gelu"), mm_hidden_size: only(clipLarge336.width) }, what);
  if (!/clip-vit-large-patch14-336$/.test(String(json.mm_vision_tower)))
    throw new UsageError(
      `${what}: "mm_vision_tower" is ${shown(json.mm_vision_tower)}; only openai/clip-vit-large-patch14-336 is supported`,
    );
  return { ...llava7b, text, features: stateFromEnd(json, "mm_vision_select_layer", llava7b.vision.depth, -2, what) };
}

export const llavaCodec = (name: string): ConfigCodec<LlavaConfig> => ({
  types: ["llava", "llava_llama"],
  incidental: ["text.vocab", "imageToken", "text.maxPositions"], // transformers' form has more tokens, one of them the image's
  describes: (json) => seesThroughClip(json) && nameOf(json) === name,
  read: (json) => (configPart(json, "text_config") ? readHub(json) : readOriginal(json)),
  notes(json) {
    const [vision, text] = [configPart(json, "vision_config"), configPart(json, "text_config")];
    if (!text) return fieldNotes(json, chatFields, what);
    return [
      ...fieldNotes(json, fields, what),
      ...fieldNotes(vision ?? {}, visionFields, visionWhat),
      ...fieldNotes(text, llamaFields, textWhat),
    ];
  },
  write: (c) => ({
    architectures: ["LlavaForConditionalGeneration"],
    model_type: "llava",
    image_token_index: c.imageToken,
    image_seq_length: (c.vision.image / c.vision.patch) ** 2,
    projector_hidden_act: "gelu",
    multimodal_projector_bias: true,
    vision_feature_layer: c.features,
    vision_feature_select_strategy: "default",
    tie_word_embeddings: false,
    vision_config: writeVision(c.vision),
    text_config: writeTextConfig(c.text),
  }),
});

/** The closest bundled model to a config, of which only the name is used. */
function nameOf(json: PublishedConfig): string {
  const { hidden_size } = configPart(json, "text_config") ?? json;
  return hidden_size === 5120 ? "llava-1.5-13b" : "llava-1.5-7b";
}
