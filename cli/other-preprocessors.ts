/**
 * The preprocessing in the files of OpenCLIP and timm, as the fields of a `preprocessor_config.json` that makes the
 * same images: `preprocess_cfg` of open_clip_config.json, `pretrained_cfg` of timm's config.json.
 */
import { join } from "node:path";
import { FileError, shown } from "../compiler/index.ts";
import { isRecord } from "../data/index.ts";
import type { JsonRecord } from "../dsl/index.ts";
import { jsonIn } from "./own-config.ts";
import { cropRounding, type StoredPreprocessor } from "./preprocessor-fields.ts";

/** The preprocessing of the first file that is in a folder and has one. Throws FileError for what is not done. */
export async function otherPreprocessor(folder: string): Promise<StoredPreprocessor | undefined> {
  for (const { file, key, fieldsOf } of sources) {
    const found = (await jsonIn(folder, file))?.[key];
    if (found === undefined || found === null) continue;
    const path = join(folder, file);
    if (!isRecord(found)) throw new FileError(`${path}: "${key}" is ${shown(found)}; expected an object`);
    const wrong = (field: string, why: string) =>
      new FileError(`${path}: "${field}" of "${key}" is ${shown(found[field])}, ${why}`);
    return { path, stored: fieldsOf(found, wrong) };
  }
  return undefined;
}

type Wrong = (field: string, why: string) => FileError;

interface Source {
  readonly file: string;
  /** Where the file has the preprocessing. */
  readonly key: string;
  readonly fieldsOf: (json: JsonRecord, wrong: Wrong) => JsonRecord;
}

/** Both crop as torchvision does. */
const common = { image_processor_type: "CLIPImageProcessor", ...cropRounding, do_resize: true, do_normalize: true };

/** Pillow's numbers of the filters. */
const filters: Readonly<Record<string, number>> = { lanczos: 1, bilinear: 2, bicubic: 3 };

function filterOf({ interpolation = "bicubic" }: JsonRecord, wrong: Wrong): number {
  if (typeof interpolation === "string" && Object.hasOwn(filters, interpolation)) return filters[interpolation]!;
  throw wrong("interpolation", `but must be one of ${Object.keys(filters).join(", ")}`);
}

const isSide = (value: unknown): value is number => Number.isInteger(value) && (value as number) > 0;

/** OpenCLIP's `image_transform`, open_clip 3.3. */
function openClipFields(json: JsonRecord, wrong: Wrong): JsonRecord {
  const { size, mode = "RGB", mean, std, resize_mode: resized = "shortest" } = json;
  if (mode !== "RGB") throw wrong("mode", 'but must be "RGB"');
  if (resized !== "shortest" && resized !== "squash") throw wrong("resize_mode", 'but must be "shortest" or "squash"');
  const [height, width, ...more] = Array.isArray(size) ? size : [size, size];
  if (size !== undefined && !(isSide(height) && isSide(width) && more.length === 0))
    throw wrong("size", "but must be a number or a pair");
  const sides = size !== undefined && { height, width };
  const cut = sides ? { crop_size: sides, size: { shortest_edge: Math.min(height, width) } } : {};
  if (sides && resized === "shortest" && height !== width) throw wrong("size", "but crops must be squares");
  return {
    ...common,
    ...(resized === "squash"
      ? { do_center_crop: false, size: sides || { height: 224, width: 224 } } // its default
      : { do_center_crop: true, ...cut }),
    resample: filterOf(json, wrong),
    ...(mean !== undefined && { image_mean: mean }),
    ...(std !== undefined && { image_std: std }),
  };
}

/** timm's `create_transform` for evaluation, timm 1.0. */
function timmFields(json: JsonRecord, wrong: Wrong): JsonRecord {
  const { input_size: input = [3, 224, 224], crop_pct: part = 0.875, crop_mode: mode = "center", mean, std } = json;
  const [channels, height, width] = Array.isArray(input) ? input : [];
  if (channels !== 3 || !isSide(height) || !isSide(width)) throw wrong("input_size", "but must be [3, height, width]");
  if (typeof part !== "number" || !(part > 0 && part <= 1))
    throw wrong("crop_pct", "but must be above 0 and at most 1");
  if (mode !== "center" && mode !== "squash") throw wrong("crop_mode", 'but must be "center" or "squash"');
  if (mode === "center" && height !== width) throw wrong("input_size", "but images that are cropped must be squares");
  const scaled = (side: number) => Math.floor(side / part);
  const size = mode === "squash" ? { height: scaled(height), width: scaled(width) } : { shortest_edge: scaled(height) };
  return {
    ...common,
    ...{ size, do_center_crop: true, crop_size: { height, width } },
    resample: filterOf(json, wrong),
    image_mean: mean ?? [0.485, 0.456, 0.406],
    image_std: std ?? [0.229, 0.224, 0.225],
  };
}

const sources: readonly Source[] = [
  { file: "open_clip_config.json", key: "preprocess_cfg", fieldsOf: openClipFields },
  { file: "config.json", key: "pretrained_cfg", fieldsOf: timmFields },
];
