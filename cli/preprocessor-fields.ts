/** The fields of a `preprocessor_config.json` as the image processors of transformers take them. */
import type { FileError } from "../compiler/index.ts";
import type { JsonRecord } from "../dsl/index.ts";

/** An image processor's fields as they are stored, and the path of their file for messages. */
export interface StoredPreprocessor {
  readonly path: string;
  readonly stored: JsonRecord;
}

/** Makes the error of a field: why its value cannot be used. */
export type Wrong = (key: string, why: string) => FileError;

const colours = {
  half: { image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] },
  openai: { image_mean: [0.48145466, 0.4578275, 0.40821073], image_std: [0.26862954, 0.26130258, 0.27577711] },
  imagenet: { image_mean: [0.485, 0.456, 0.406], image_std: [0.229, 0.224, 0.225] },
};
const [bilinear, bicubic] = [{ resample: 2 }, { resample: 3 }];
const cropped = { size: { shortest_edge: 224 }, crop_size: { height: 224, width: 224 }, do_center_crop: true };
const squashed = { size: { height: 224, width: 224 } };

/** What files of the classes of processors that are known here leave out: transformers 5.24. */
const defaults: Readonly<Record<string, JsonRecord>> = {
  Beit: { ...colours.half, ...bicubic, ...squashed, do_center_crop: false },
  Bit: { ...colours.openai, ...bicubic, ...cropped },
  Blip: { ...colours.openai, ...bicubic, size: { height: 384, width: 384 } },
  ChineseCLIP: { ...colours.openai, ...bicubic, ...cropped },
  CLIP: { ...colours.openai, ...bicubic, ...cropped },
  ConvNext: { ...colours.half, ...bicubic, size: { shortest_edge: 384 }, crop_pct: 224 / 256 },
  DeiT: { ...colours.half, ...bicubic, ...cropped, size: { height: 256, width: 256 } },
  DPT: { ...colours.half, ...bicubic, size: { height: 384, width: 384 } },
  DINOv3ViT: { ...colours.imagenet, ...bilinear, ...squashed, do_center_crop: false },
  Donut: { ...colours.half, ...bilinear, size: { height: 2560, width: 1920 }, do_thumbnail: true, do_pad: true },
  GotOcr2: { ...colours.openai, ...bicubic, size: { height: 384, width: 384 } },
  Llava: { ...colours.openai, ...bicubic, ...cropped },
  MobileNetV1: { ...colours.half, ...bilinear, ...cropped, size: { shortest_edge: 256 } },
  MobileNetV2: { ...colours.half, ...bilinear, ...cropped, size: { shortest_edge: 256 } },
  MobileViT: { ...bicubic, ...cropped, crop_size: { height: 256, width: 256 }, do_flip_channel_order: true },
  Pvt: { ...colours.imagenet, ...bicubic, ...squashed },
  Segformer: { ...colours.imagenet, ...bilinear, size: { height: 512, width: 512 } },
  Siglip: { ...colours.half, ...bicubic, ...squashed },
  ViT: { ...colours.half, ...bilinear, ...squashed },
};

/** Processors that never normalize, whatever mean and std their file has, and may reverse the order of channels. */
const unnormalized: readonly string[] = ["MobileViT"];

/** Processors that resize colours as floats, not as 8-bit numbers, which are rounded after each of two passes. */
const ofFloats: readonly string[] = ["DINOv3ViT"];

/** What of a file is only obeyed approximately: named when the file is used. */
export const approximated = (json: JsonRecord): readonly string[] =>
  ofFloats.includes(processorOf(json) ?? "")
    ? [
        "whose images are resized as 8-bit colours here, not as floats: values differ by up to 1/255 before normalization",
      ]
    : [];

/** Processors that resize or crop otherwise than their fields say. */
const others: readonly string[] = ["Levit", "Nougat", "Perceiver", "Vilt"];

/** Crops as torchvision's: a field of ours, for files made of those of other programs. */
export const cropRounding = { crop_rounding: "half_to_even" };

/** Which pixel a centre between two is rounded to. */
export const centreOf = (json: JsonRecord): "even" | "lower" =>
  json.crop_rounding === cropRounding.crop_rounding ? "even" : "lower";

const read = `crop_rounding do_flip_channel_order do_resize do_rescale do_normalize do_center_crop do_pad do_thumbnail size crop_size pad_size crop_pct resample
  rescale_factor image_mean image_std crop_to_patches min_patches max_patches do_reduce_labels reduce_labels`;
const withoutEffect = `image_processor_type feature_extractor_type processor_class auto_map do_convert_rgb
  default_to_square data_format input_data_format return_tensors model_input_names device
  disable_grouping image_seq_length _valid_processor_keys`;
const known = new Set([read, withoutEffect].flatMap((names) => names.split(/\s+/)));

/** Fields that change images, in ways that nothing here does. */
const notDone: readonly string[] = [
  ...["ensure_multiple_of", "image_grid_pinpoints", "include_top", "keep_aspect_ratio", "max_image_size"],
  ...["max_num_patches", "max_pixels", "merge_size", "min_pixels", "rescale_offset", "size_divisor"],
];

const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

/** The class of the processor, such as "CLIP"; undefined if the file does not name one. */
export const processorOf = (json: JsonRecord): string | undefined =>
  /^(\w+?)(ImageProcessor|FeatureExtractor)(Fast|Pil)?$/.exec(
    textOf(json.image_processor_type ?? json.feature_extractor_type),
  )?.[1];

/** The fields that the file has, and the defaults of its class for others. Throws for what nothing here does. */
export function checkedFields(json: JsonRecord, wrong: Wrong): JsonRecord {
  const processor = processorOf(json);
  const isSaid = (key: string): boolean => json[key] !== null && json[key] !== undefined;
  if (processor !== undefined && others.includes(processor))
    throw wrong(
      isSaid("image_processor_type") ? "image_processor_type" : "feature_extractor_type",
      "whose resizing is not supported",
    );
  for (const key of Object.keys(json))
    if (!known.has(key) && isSaid(key) && json[key] !== false && (key.startsWith("do_") || notDone.includes(key)))
      if (!(key === "ensure_multiple_of" && json[key] === 1)) throw wrong(key, "which is not supported");
  if (json.do_flip_channel_order === true && !unnormalized.includes(processor ?? ""))
    throw wrong("do_flip_channel_order", `which is supported of ${unnormalized.join(", ")}ImageProcessor only`);
  // Without clamping, the other filters overshoot the range of colours.
  if (ofFloats.includes(processor ?? "") && isSaid("resample") && json.resample !== bilinear.resample)
    throw wrong("resample", `which ${processor}ImageProcessor applies to floats: only 2 (bilinear) is supported`);
  const said = Object.fromEntries(Object.entries(json).filter(([key]) => isSaid(key)));
  if (processor === undefined || !Object.hasOwn(defaults, processor)) return said;
  const usual = defaults[processor]!;
  const fixed = unnormalized.includes(processor) ? { do_normalize: false } : {};
  return { ...usual, ...said, ...fixed, ...(typeof said.size === "number" && { size: sizeAs(said.size, usual.size) }) };
}

/** A size of older files, one number: that of a square or of the short side, as the class has it. */
const sizeAs = (side: number, usual: unknown): JsonRecord =>
  Object.hasOwn(usual as object, "shortest_edge") ? { shortest_edge: side } : { height: side, width: side };

/** Fields and the class, if nothing is known of them: named when the file is used. */
export function unknownFields(json: JsonRecord): readonly string[] {
  const processor = processorOf(json);
  const isKnown = processor === undefined || Object.hasOwn(defaults, processor);
  const type = json.image_processor_type ?? json.feature_extractor_type;
  const fields = Object.keys(json).filter((key) => !known.has(key) && json[key] !== null && json[key] !== false);
  return [...(isKnown ? [] : [String(type)]), ...fields.filter((key) => key !== "ensure_multiple_of")];
}
