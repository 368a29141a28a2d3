/** The `config.json` of InternVL-Chat 1.2 and 1.5, in the authors' form and in transformers'. */
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
import { visionFields } from "../internvl/config-fields.ts";
import {
  readTextConfig,
  readVisionConfig,
  type TextConfig,
  textFields,
  type VisionConfig,
  withKeyHeads,
  writeTextConfig,
  writeVisionConfig,
} from "../internvl/index.ts";
import type { InternvlChatConfig } from "./chat.ts";
import { internlm2Fields, internlm2Notes, readInternlm2Config, writeInternlm2Config } from "./internlm2.ts";
import { tiledTemplates } from "./templates.ts";

const [what, visionWhat, textWhat] = ["InternVL-Chat's config", "the vision config", "the language model's config"];

/** The authors' form (model_type internvl_chat). */
const chatFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `vision_config llm_config select_layer downsample_ratio ps_version force_image_size dynamic_image_size use_thumbnail
     min_dynamic_patch max_dynamic_patch template img_context_token_id`,
  ),
  ...all("none", "tie_word_embeddings system_message hidden_size"),
  pad2square: only(false),
  use_backbone_lora: only(0),
  use_llm_lora: only(0),
};

/** transformers' form (model_type internvl). */
const hubFields: Fields = {
  ...bookkeeping,
  ...all("read", "vision_config text_config vision_feature_layer downsample_ratio image_token_id"),
  ...all("none", "image_seq_length"),
  vision_feature_select_strategy: only("default"),
  projector_hidden_act: only("gelu"),
  tie_word_embeddings: only(false),
};

const hubVisionFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads intermediate_size image_size patch_size layer_scale_init_value`,
  ),
  hidden_act: only("gelu"),
  num_channels: only(3),
  layer_norm_eps: only(1e-6),
  norm_type: only("rms_norm"),
  use_qk_norm: only(true),
  attention_bias: only(false),
  use_mean_pooling: only(true),
  use_mask_token: only(false),
  use_absolute_position_embeddings: only(true),
  model_type: only("internvl_vision"),
  ...all(trained(0), "hidden_dropout_prob attention_dropout projection_dropout"),
};

/** transformers' defaults for the vision config that differ from InternViT-6B. */
const hubVisionDefaults = { norm_type: "layer_norm", use_qk_norm: false };

/** The supported language models, by "model_type". */
const languages = {
  llama: { read: (json: PublishedConfig) => readTextConfig(json), write: writeTextConfig, fields: textFields },
  internlm2: { read: readInternlm2Config, write: writeInternlm2Config, fields: internlm2Fields },
} as const;
export type Language = keyof typeof languages;

function languageOf(part: PublishedConfig): Language {
  const type = part.model_type ?? (String(part.architectures).startsWith("InternLM2") ? "internlm2" : "llama");
  if (typeof type === "string" && Object.hasOwn(languages, type)) return type as Language;
  throw new UsageError(`${textWhat}: "model_type" is ${shown(type)}; only "llama" and "internlm2" are supported`);
}

const isHub = (json: PublishedConfig): boolean => json.model_type === "internvl";

const textPart = (json: PublishedConfig): PublishedConfig =>
  requiredPart(json, isHub(json) ? "text_config" : "llm_config", what);

/** The side, in patches, of a token's square, from a ratio such as 0.5. */
function shrinkOf(json: PublishedConfig): number {
  const shrink = 1 / fieldReader(json, what).number("downsample_ratio", 0.5);
  if (Number.isInteger(shrink) && shrink >= 1) return shrink;
  throw new UsageError(`${what}: "downsample_ratio" is ${shown(json.downsample_ratio)}; expected 1 over an integer`);
}

function readText(json: PublishedConfig, config: InternvlChatConfig): TextConfig {
  const part = textPart(json);
  return { ...withKeyHeads(languages[languageOf(part)].read(part), config.text), context: config.text.context };
}

function readPublished(json: PublishedConfig, config: InternvlChatConfig): InternvlChatConfig {
  checkFields(json, { ...chatFields, template: only(...tiledTemplates.map((t) => t.name)) }, what);
  checkFields({ ps_version: "v1", ...json }, { ps_version: only("v1", "v2") }, what);
  const { number, boolean } = fieldReader(json, what);
  const stored = readVisionConfig({ patch_size: 14, ...requiredPart(json, "vision_config", what) });
  const image = number("force_image_size", stored.image);
  const tiled = boolean("dynamic_image_size", false);
  return {
    vision: image === stored.image ? stored : { ...stored, image, positions: stored.image },
    text: readText(json, config),
    features: stateFromEnd(json, "select_layer", stored.depth, -1, what),
    shrink: shrinkOf(json),
    shuffle: typeof json.ps_version === "string" ? json.ps_version : "v1",
    imageToken: number("img_context_token_id", config.imageToken),
    leastTiles: tiled ? number("min_dynamic_patch", 1) : 1,
    mostTiles: tiled ? number("max_dynamic_patch", 6) : 1,
    thumbnail: boolean("use_thumbnail", false),
    chatTemplate: typeof json.template === "string" ? json.template : config.chatTemplate,
  };
}

/** A number, or a pair of equal numbers. */
function square(json: PublishedConfig, key: string): number {
  const value = json[key];
  const [first, second] = Array.isArray(value) ? value : [value, value];
  if (Number.isInteger(first) && first === second) return first;
  throw new UsageError(`${visionWhat}: "${key}" is ${shown(value)}; expected one integer for both sides`);
}

function readHubVision(json: PublishedConfig): VisionConfig {
  const said = { ...hubVisionDefaults, ...json };
  checkFields(said, hubVisionFields, visionWhat);
  const { number, size } = fieldReader(json, visionWhat);
  return readVisionConfig({
    hidden_size: size("hidden_size"),
    num_hidden_layers: size("num_hidden_layers", mostLayers),
    num_attention_heads: size("num_attention_heads"),
    intermediate_size: size("intermediate_size"),
    image_size: square(json, "image_size"),
    patch_size: square(json, "patch_size"),
    initializer_factor: number("layer_scale_init_value", 0.1),
  });
}

/** transformers' form, whose processor has a file of its own for the number of tiles; these are its defaults. */
function readHub(json: PublishedConfig, config: InternvlChatConfig): InternvlChatConfig {
  checkFields({ tie_word_embeddings: true, ...json }, hubFields, what);
  // transformers ties the output matrix if InternVL's config says so, whatever the language model's does.
  checkFields(textPart(json), { tie_word_embeddings: only(false) }, textWhat);
  const { number } = fieldReader(json, what);
  const vision = readHubVision(requiredPart(json, "vision_config", what));
  return {
    ...config,
    vision,
    text: readText(json, config),
    features: stateFromEnd(json, "vision_feature_layer", vision.depth, -1, what),
    shrink: shrinkOf(json),
    shuffle: "v2",
    imageToken: number("image_token_id"),
    ...{ leastTiles: 1, mostTiles: 12, thumbnail: true },
  };
}

/** The models by language model. */
const names: Readonly<Record<Language, string>> = { llama: "internvl-chat-1.2", internlm2: "internvl-chat-1.5" };

export const chatCodec = (language: Language): ConfigCodec<InternvlChatConfig> => ({
  types: ["internvl_chat", "internvl"],
  incidental: ["text.maxPositions"],
  describes: (json) => (!isHub(json) || "text_config" in json) && names[languageOf(textPart(json))] === names[language],
  read(json, config) {
    const found = languageOf(textPart(json));
    if (found !== language)
      throw new UsageError(
        `${what}: its language model is ${found}, as in ${names[found]}: pass the folder itself as the model`,
      );
    return isHub(json) ? readHub(json, config) : readPublished(json, config);
  },
  notes(json) {
    const [vision, text] = [configPart(json, "vision_config") ?? {}, textPart(json)];
    return [
      ...fieldNotes(json, isHub(json) ? hubFields : chatFields, what),
      ...fieldNotes(vision, isHub(json) ? hubVisionFields : visionFields, visionWhat),
      ...(languageOf(text) === "internlm2" ? internlm2Notes(text) : fieldNotes(text, textFields, textWhat)),
    ];
  },
  write: (c) => ({
    architectures: ["InternVLChatModel"],
    model_type: "internvl_chat",
    downsample_ratio: 1 / c.shrink,
    dynamic_image_size: c.mostTiles > 1,
    force_image_size: c.vision.image,
    img_context_token_id: c.imageToken,
    llm_config: languages[language].write(c.text),
    min_dynamic_patch: c.leastTiles,
    max_dynamic_patch: c.mostTiles,
    pad2square: false,
    ps_version: c.shuffle,
    select_layer: c.features,
    template: c.chatTemplate,
    use_thumbnail: c.thumbnail,
    vision_config: { ...writeVisionConfig(c.vision), norm_type: "rms_norm" },
  }),
  sized(config, json) {
    const type = json.model_type;
    if (type === "internvl_chat" || (type === "internvl" && "text_config" in json))
      return languageOf(textPart(json)) === language ? this.read(json, config) : undefined;
    const { context } = config.text;
    if (type === language)
      return { ...config, text: { ...withKeyHeads(languages[language].read(json), config.text), context } };
    if (type !== "intern_vit_6b") return undefined;
    const stored = readVisionConfig(json);
    return { ...config, vision: { ...stored, image: config.vision.image, positions: stored.image } };
  },
});
