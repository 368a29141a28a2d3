/** The files beside weights that say how images are preprocessed and texts are written. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { checkpointGeneration } from "../../../cli/generation-config.ts";
import { checkpointPreprocessing } from "../../../cli/preprocessor-config.ts";
import { decodeImage } from "../../../data/index.ts";
import { tilesFor } from "../../../data/tiles.ts";
import { storedLimits } from "../../../runtime/index.ts";
import type { Format } from "./format.ts";

const size = 16;
const drawing = Buffer.from(
  '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="12"><rect width="9" height="9"/></svg>',
);

const preprocessor = (name: string, config: object, file = "preprocessor_config.json"): Format => ({
  name: `preprocessor-${name}`,
  write: async (folder) => {
    writeFileSync(join(folder, file), JSON.stringify(config, null, 1));
    return [file];
  },
  read: async (folder) => {
    const found = await checkpointPreprocessing(folder, size);
    if (!found && file !== "preprocessor_config.json") return; // a damaged name is another field
    const { mean, std, geometry, tiles } = found!;
    if (![...mean, ...std].every(Number.isFinite) || std.some((n) => n <= 0))
      throw new Error(`scaled by ${mean}, ${std}`);
    const { width, height } = await decodeImage({ name: "drawing", bytes: drawing }, { ...geometry, size });
    if (width !== size || height !== size) throw new Error(`the image has ${width} x ${height} pixels`);
    if (tiles !== undefined) tilesFor({ width: 20, height: 12 }, { size, ...tiles });
  },
});

const clip = {
  ...{ image_processor_type: "CLIPImageProcessor", size: { shortest_edge: 18 }, crop_size: { height: 16, width: 16 } },
  ...{
    do_resize: true,
    do_center_crop: true,
    do_rescale: true,
    rescale_factor: 1 / 255,
    do_normalize: true,
    resample: 3,
  },
  ...{ image_mean: [0.48, 0.45, 0.4], image_std: [0.26, 0.26, 0.27] },
};
const tiled = {
  ...{ image_processor_type: "GotOcr2ImageProcessor", size: { height: 16, width: 16 }, crop_to_patches: true },
  ...{ min_patches: 1, max_patches: 6, image_mean: 0.5, image_std: 0.5 },
};
const part = { image_processor_type: "ConvNextImageProcessor", size: { shortest_edge: 16 }, crop_pct: 0.875 };
const letterboxed = { image_processor_type: "DonutImageProcessor", size: [16, 16], do_pad: true, do_thumbnail: true };

const ofOpenClip = {
  preprocess_cfg: {
    ...{ size: 16, mode: "RGB", interpolation: "bilinear", resize_mode: "shortest", fill_color: 0 },
    ...{ mean: [0.5, 0.4, 0.3], std: [0.5, 0.2, 0.9] },
  },
};
const ofTimm = {
  architecture: "vit_tiny_patch16_224",
  pretrained_cfg: {
    ...{ input_size: [3, 16, 16], interpolation: "bicubic", crop_pct: 0.9, crop_mode: "squash" },
    ...{ mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  },
};

const settings = {
  ...{
    bos_token_id: 1,
    eos_token_id: [2, 3],
    decoder_start_token_id: 0,
    forced_bos_token_id: 4,
    forced_eos_token_id: 2,
  },
  ...{ suppress_tokens: [5, 6], begin_suppress_tokens: [7], bad_words_ids: [[8], [9]], no_repeat_ngram_size: 3 },
  ...{ num_beams: 4, length_penalty: 0.6, early_stopping: true, min_length: 2, max_length: 20, do_sample: false },
  ...{ repetition_penalty: 1.0, temperature: 0.7, transformers_version: "5.2.0" },
};

const generation = (name: string, file: string): Format => ({
  name,
  write: async (folder) => {
    writeFileSync(join(folder, file), JSON.stringify(settings, null, 1));
    return [file];
  },
  read: async (folder) => {
    const config = await checkpointGeneration(folder, true);
    if (config === undefined) return;
    const { maxNewTokens, minNewTokens = 0 } = storedLimits(
      config,
      { maxNewTokens: 20, strategy: { kind: "greedy" } },
      { begun: 1, limit: 64, encodes: true },
    );
    if (
      !(
        Number.isInteger(maxNewTokens) &&
        Number.isInteger(minNewTokens) &&
        0 <= minNewTokens &&
        minNewTokens <= maxNewTokens
      )
    )
      throw new Error(`${minNewTokens} to ${maxNewTokens} tokens are written`);
    const { suppress = [], eos = [] } = config.tokens;
    if (![...suppress, ...eos].every((id) => Number.isInteger(id) && id >= 0))
      throw new Error(`ids ${suppress}, ${eos}`);
  },
});

export const processorFormats: readonly Format[] = [
  preprocessor("clip", clip),
  preprocessor("tiled", tiled),
  preprocessor("part", part),
  preprocessor("letterboxed", letterboxed),
  preprocessor("open-clip", ofOpenClip, "open_clip_config.json"),
  preprocessor("timm", ofTimm, "config.json"),
  generation("generation", "generation_config.json"),
  generation("generation-of-config", "config.json"),
];
