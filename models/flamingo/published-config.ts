/**
 * The `config.json` of Flamingo. None was published with weights: fields are named after the parts of OpenFlamingo's
 * code (`vis_dim`, `cross_attn_every_n_layers`, PerceiverResampler's and GatedCrossAttentionBlock's), and towers are
 * objects as in transformers. Where OpenFlamingo differs from the paper, its fields are rejected by name.
 */
import { type ConfigCodec, type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import { readVisionConfig, visionFieldNotes, writeVisionConfig } from "../clip/config.ts";
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
} from "../config-fields.ts";
import { gpt2Codec } from "../gpt2/index.ts";
import type { FlamingoConfig, TrainedLayers } from "./flamingo.ts";

const [what, resamplerWhat, gatedWhat, textWhat] = [
  "Flamingo's config",
  "the resampler's config",
  "the gated layers' config",
  "the language model's config",
];

const fields: Fields = {
  ...bookkeeping,
  ...all("read", "vis_dim vis_tokens vis_frames media_token_id eoc_token_id cross_attn_every_n_layers"),
  ...all("read", "text_config vision_config perceiver_config gated_cross_attn_config"),
  only_attend_immediate_media: only(true),
  use_media_placement_augmentation: only(false),
  tie_word_embeddings: only(true),
};

const layerFields: Fields = {
  ...all("read", "heads dim_head ff_mult"),
  ff_activation: only("relu2"), // OpenFlamingo's is gelu
};
const resamplerFields: Fields = {
  ...layerFields,
  ...all("read", "depth num_latents max_num_frames"),
  max_num_media: only(null), // positions of images in a text
};
const gatedFields: Fields = {
  ...layerFields,
  first_layer: only(0), // OpenFlamingo's are before blocks cross_attn_every_n_layers - 1, and so on
};

/**
 * The resampler's or the gated layers' settings. Throws UsageError if a required field of the paper's layers is
 * missing.
 */
function readLayers(json: PublishedConfig, known: Fields, name: string, width: number): TrainedLayers {
  checkFields(json, known, name);
  const { size, number } = fieldReader(json, name);
  for (const key of ["ff_activation", "first_layer"])
    if (Object.hasOwn(known, key) && (json[key] === undefined || json[key] === null))
      throw new UsageError(
        `${name}: "${key}" is missing; OpenFlamingo's layers, which have no such setting, are not supported`,
      );
  const [exact, mlp] = [number("ff_mult") * width, Math.round(number("ff_mult") * width)];
  if (mlp < 1 || Math.abs(exact - mlp) > 1e-6 * mlp)
    throw new UsageError(`${name}: "ff_mult" is ${json.ff_mult}, and a width of ${width} times that is not an integer`);
  return { heads: size("heads"), headDim: size("dim_head"), mlp };
}

const writeLayers = ({ heads, headDim, mlp }: TrainedLayers, width: number): JsonRecord => ({
  heads,
  dim_head: headDim,
  ff_mult: mlp / width,
  ff_activation: "relu2",
});

function readFlamingo(json: PublishedConfig, config: FlamingoConfig): FlamingoConfig {
  checkFields(json, fields, what);
  const { size, number } = fieldReader(json, what);
  const language = requiredPart(json, "text_config", what);
  if (language.model_type !== "gpt2")
    throw new UsageError(`${textWhat}: "model_type" is ${shown(language.model_type)}; only "gpt2" is supported`);
  const text = gpt2Codec.read(language, config.text);
  const [perceiver, gated] = (["perceiver_config", "gated_cross_attn_config"] as const).map((key) =>
    requiredPart(json, key, what),
  ) as [PublishedConfig, PublishedConfig];
  const seen = configPart(json, "vision_config");
  const visionWidth = size("vis_dim");
  const resampler = fieldReader(perceiver, resamplerWhat);
  return {
    vision: seen ? readVisionConfig(seen) : { ...config.vision, depth: 0 },
    visionWidth,
    places: size("vis_tokens"),
    frames: size("vis_frames"),
    times: resampler.size("max_num_frames"),
    latents: resampler.size("num_latents"),
    resampler: {
      ...readLayers(perceiver, resamplerFields, resamplerWhat, visionWidth),
      depth: resampler.size("depth", mostLayers),
    },
    gated: {
      ...readLayers(gated, gatedFields, gatedWhat, text.width),
      every: size("cross_attn_every_n_layers", mostLayers),
    },
    text,
    imageToken: number("media_token_id"),
    endToken: number("eoc_token_id"),
  };
}

export const flamingoCodec: ConfigCodec<FlamingoConfig> = {
  types: ["flamingo"],
  read: readFlamingo,
  notes: (json) => {
    const part = (key: string) => configPart(json, key) ?? {};
    const seen = configPart(json, "vision_config");
    return [
      ...fieldNotes(json, fields, what),
      ...fieldNotes(part("perceiver_config"), resamplerFields, resamplerWhat),
      ...fieldNotes(part("gated_cross_attn_config"), gatedFields, gatedWhat),
      ...gpt2Codec.notes!(part("text_config")),
      ...(seen ? visionFieldNotes(seen) : []),
    ];
  },
  write: (c) => ({
    architectures: ["Flamingo"],
    model_type: "flamingo",
    vis_dim: c.visionWidth,
    vis_tokens: c.places,
    vis_frames: c.frames,
    media_token_id: c.imageToken,
    eoc_token_id: c.endToken,
    cross_attn_every_n_layers: c.gated.every,
    only_attend_immediate_media: true,
    perceiver_config: {
      ...writeLayers(c.resampler, c.visionWidth),
      depth: c.resampler.depth,
      num_latents: c.latents,
      max_num_frames: c.times,
    },
    gated_cross_attn_config: { ...writeLayers(c.gated, c.text.width), first_layer: 0 },
    text_config: gpt2Codec.write(c.text),
    vision_config: c.vision.depth === 0 ? null : writeVisionConfig(c.vision),
  }),
};
