/** The `config.json` of transformers' BLIP-2 (model_type blip-2), for the Q-Former alone and for the full model. */
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
  trained,
} from "../config-fields.ts";
import type { QformerConfig } from "./qformer.ts";
import type { Blip2Config } from "./writing.ts";

const what = "BLIP-2's config";

const fields: Fields = {
  ...bookkeeping,
  ...all("read", "vision_config qformer_config text_config num_query_tokens image_text_hidden_size"),
  // The language model's own type says whether it is a decoder; image tokens always come first.
  ...all("none", "use_decoder_only_language_model image_token_index image_token_id initializer_factor is_composition"),
  tie_word_embeddings: "none", // set by the language model's config
};

const visionFields: Fields = {
  ...bookkeeping,
  model_type: only("blip_2_vision_model"),
  ...all(
    "read",
    "hidden_size num_hidden_layers num_attention_heads intermediate_size image_size patch_size layer_norm_eps",
  ),
  ...all("none", "projection_dim initializer_factor"),
  hidden_act: only("gelu"),
  qkv_bias: only(true),
  num_channels: only(3),
  ...all(trained(0), "attention_dropout dropout"),
};

const qformerFields: Fields = {
  ...bookkeeping,
  model_type: only("blip_2_qformer"),
  ...all(
    "read",
    `hidden_size num_hidden_layers num_attention_heads intermediate_size layer_norm_eps cross_attention_frequency encoder_hidden_size
     vocab_size max_position_embeddings use_qformer_text_input`,
  ),
  ...all("none", "attention_probs_dropout_prob hidden_dropout_prob classifier_dropout"), // of training
  hidden_act: only("gelu"),
  position_embedding_type: only("absolute"),
};

const textFields: Fields = {
  ...bookkeeping,
  ...all(
    "read",
    "hidden_size num_hidden_layers num_attention_heads ffn_dim vocab_size max_position_embeddings word_embed_proj_dim",
  ),
  ...all("none", "dropout attention_dropout layerdrop init_std activation_dropout"), // of training
  activation_function: only("relu"),
  do_layer_norm_before: only(true),
  _remove_final_layer_norm: only(false),
  enable_bias: only(true),
  layer_norm_elementwise_affine: only(true),
  tie_word_embeddings: only(true),
};

/** Defaults of fields that a config.json leaves out. */
const visionDefaults = {
  ...{ hidden_size: 1408, num_hidden_layers: 39, num_attention_heads: 16, intermediate_size: 6144 },
  ...{ image_size: 224, patch_size: 14, layer_norm_eps: 1e-6 },
};
const qformerDefaults = {
  ...{ hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, intermediate_size: 3072 },
  ...{ layer_norm_eps: 1e-12, cross_attention_frequency: 2, encoder_hidden_size: 1408 },
  ...{ vocab_size: 30522, max_position_embeddings: 512, use_qformer_text_input: false },
};
const textDefaults = {
  ...{ hidden_size: 768, num_hidden_layers: 12, num_attention_heads: 12, ffn_dim: 3072 },
  ...{ vocab_size: 50272, max_position_embeddings: 2048, eos_token_id: 2 },
};

const parts = (json: PublishedConfig) => ({
  vision: { ...visionDefaults, ...configPart(json, "vision_config") } as PublishedConfig,
  qformer: { ...qformerDefaults, ...configPart(json, "qformer_config") } as PublishedConfig,
  text: { ...textDefaults, ...configPart(json, "text_config") } as PublishedConfig,
});

const readsTexts = (json: PublishedConfig): boolean => parts(json).qformer.use_qformer_text_input === true;

const [visionWhat, qformerWhat, textWhat] = [
  "the vision config",
  "the Q-Former's config",
  "the language model's config",
];

const towerSizes = (json: PublishedConfig, name: string, mlp = "intermediate_size") => {
  const { size } = fieldReader(json, name);
  return {
    width: size("hidden_size"),
    depth: size("num_hidden_layers", mostLayers),
    heads: size("num_attention_heads"),
    mlp: size(mlp),
  };
};

function readQueries(json: PublishedConfig) {
  const { qformer } = parts(json);
  checkFields(json, fields, what);
  checkFields(qformer, qformerFields, qformerWhat);
  const { size, number } = fieldReader(qformer, qformerWhat);
  return {
    ...towerSizes(qformer, qformerWhat),
    queries: fieldReader({ num_query_tokens: 32, ...json }, what).size("num_query_tokens"),
    crossEvery: size("cross_attention_frequency", mostLayers),
    epsilon: number("layer_norm_eps"),
  };
}

function readVision({ vision, qformer }: ReturnType<typeof parts>) {
  checkFields(vision, visionFields, visionWhat);
  const { size, number } = fieldReader(vision, visionWhat);
  const read = { ...towerSizes(vision, visionWhat), image: size("image_size"), patch: size("patch_size") };
  if (qformer.encoder_hidden_size !== read.width)
    throw new UsageError(
      `${qformerWhat}: "encoder_hidden_size" is ${shown(qformer.encoder_hidden_size)}, but "hidden_size" of ${visionWhat} is ${read.width}`,
    );
  return { ...read, activation: "gelu", epsilon: number("layer_norm_eps") };
}

const writeQueries = (c: QformerConfig | Blip2Config["qformer"]): PublishedConfig => ({
  model_type: "blip_2_qformer",
  hidden_size: c.width,
  num_hidden_layers: c.depth,
  num_attention_heads: c.heads,
  intermediate_size: c.mlp,
  cross_attention_frequency: c.crossEvery,
  layer_norm_eps: c.epsilon,
  hidden_act: "gelu",
});

/** The Q-Former alone: of its encoder it knows only the number and width of tokens. */
export const qformerCodec: ConfigCodec<QformerConfig> = {
  types: ["blip-2"],
  describes: readsTexts,
  read(json, config) {
    const all = parts(json);
    const vision = readVision(all);
    const { size } = fieldReader(all.qformer, qformerWhat);
    return {
      ...config,
      ...readQueries(json),
      vocab: size("vocab_size"),
      positions: size("max_position_embeddings"),
      embed: fieldReader({ image_text_hidden_size: 256, ...json }, what).size("image_text_hidden_size"),
      ...{ visionTokens: (vision.image / vision.patch) ** 2 + 1, visionWidth: vision.width },
      visionEpsilon: vision.epsilon,
    };
  },
  notes: (json) => notesOf(json, false),
  // The Q-Former's settings lack its encoder's resolution and depth.
  write: () => undefined,
};

/** BLIP-2 with OPT. */
export const blip2Codec: ConfigCodec<Blip2Config> = {
  types: ["blip-2"],
  incidental: ["text.vocab"], // padded in later files
  describes: (json) => !readsTexts(json),
  read(json) {
    const all = parts(json);
    const type = all.text.model_type ?? "opt";
    if (type !== "opt") throw new UsageError(`${textWhat}: "model_type" is ${shown(type)}; only "opt" is supported`);
    checkFields(all.qformer, { use_qformer_text_input: only(false) }, qformerWhat);
    const qformer = readQueries(json);
    checkFields(all.text, textFields, textWhat);
    const { size, number } = fieldReader(all.text, textWhat);
    const text = towerSizes(all.text, textWhat, "ffn_dim");
    const { word_embed_proj_dim: projected = text.width } = all.text;
    if (projected !== text.width)
      throw new UsageError(
        `${textWhat}: "word_embed_proj_dim" is ${shown(projected)}; only "hidden_size", ${text.width}, is supported`,
      );
    return {
      vision: readVision(all),
      qformer,
      text: { ...text, vocab: size("vocab_size"), positions: size("max_position_embeddings"), epsilon: 1e-5 },
      stop: number("eos_token_id"),
    };
  },
  notes: (json) => notesOf(json, true),
  write: (c) =>
    c.text.epsilon !== 1e-5 || c.vision.activation !== "gelu"
      ? undefined
      : {
          architectures: ["Blip2ForConditionalGeneration"],
          model_type: "blip-2",
          num_query_tokens: c.qformer.queries,
          qformer_config: { ...writeQueries(c.qformer), encoder_hidden_size: c.vision.width },
          vision_config: {
            model_type: "blip_2_vision_model",
            hidden_size: c.vision.width,
            num_hidden_layers: c.vision.depth,
            num_attention_heads: c.vision.heads,
            intermediate_size: c.vision.mlp,
            image_size: c.vision.image,
            patch_size: c.vision.patch,
            layer_norm_eps: c.vision.epsilon,
            hidden_act: "gelu",
            qkv_bias: true,
          },
          text_config: {
            model_type: "opt",
            hidden_size: c.text.width,
            num_hidden_layers: c.text.depth,
            num_attention_heads: c.text.heads,
            ffn_dim: c.text.mlp,
            vocab_size: c.text.vocab,
            max_position_embeddings: c.text.positions,
            word_embed_proj_dim: c.text.width,
            eos_token_id: c.stop,
            activation_function: "relu",
            do_layer_norm_before: true,
          },
          use_decoder_only_language_model: true,
        },
};

function notesOf(json: PublishedConfig, writes: boolean): string[] {
  const { vision, qformer, text } = parts(json);
  return [
    ...fieldNotes(json, fields, what),
    ...fieldNotes(vision, visionFields, visionWhat),
    ...fieldNotes(qformer, qformerFields, qformerWhat),
    ...(writes ? fieldNotes(text, textFields, textWhat) : []),
  ];
}
