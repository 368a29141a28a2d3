/**
 * The `preprocessor_config.json` or `processor_config.json` beside weights: image preprocessing, as Hugging Face's
 * processors write it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileError, type ImageSize, type Sides, shown, sidesOf } from "../compiler/index.ts";
import { type Geometry, isRecord, mostTiles, readJson } from "../data/index.ts";
import type { JsonRecord, PictureFit, PixelValues, Preprocessing } from "../dsl/index.ts";
import { folderOf } from "./checkpoint.ts";
import { otherPreprocessor } from "./other-preprocessors.ts";
import {
  approximated,
  centreOf,
  checkedFields,
  type StoredPreprocessor,
  unknownFields,
  type Wrong,
} from "./preprocessor-fields.ts";
import { geometryOf, isProportional, madeSize } from "./preprocessor-geometry.ts";

export interface CheckpointPreprocessing extends PixelValues {
  readonly path: string;
  readonly geometry: Omit<Geometry, "size">;
  /** The size of the images that the file makes, if it has another aspect ratio than the model's. */
  readonly otherwise?: ImageSize;
  /** The number of tiles of an image, if given. */
  readonly tiles?: { readonly least: number; readonly most: number };
  /** Of a file whose annotations number classes from 1, with 0 for no class. */
  readonly firstClass?: 1;
  /** What of the file is only obeyed approximately, as clauses of a sentence. */
  readonly approximated: readonly string[];
  /** What the file has that nothing is known of, so that it is not applied. */
  readonly unknown: readonly string[];
}

/**
 * The file beside `weights`: a processor_config.json with an `image_processor`, as transformers 5 saves it, before a
 * preprocessor_config.json, as transformers reads them, then the files of OpenCLIP and timm; undefined if all lack one.
 */
export async function storedPreprocessor(weights: string): Promise<StoredPreprocessor | undefined> {
  const folder = folderOf(weights);
  const { path, stored } = (await storedRecord(join(folder, processorFile))) ?? {};
  const nested = stored?.image_processor ?? undefined;
  if (nested === undefined)
    return (await storedRecord(join(folder, preprocessorFile))) ?? (await otherPreprocessor(folder));
  if (!isRecord(nested)) throw new FileError(`${path}: "image_processor" is ${shown(nested)}; expected an object`);
  return { path: path!, stored: nested };
}

async function storedRecord(path: string): Promise<StoredPreprocessor | undefined> {
  if (!existsSync(path)) return undefined;
  const stored = await readJson(path, "preprocessor configuration");
  if (!isRecord(stored)) throw new FileError(`${path}: expected a JSON object`);
  return { path, stored };
}

/**
 * The preprocessing in the file beside `weights` for images of `size`, in proportion where the file has another;
 * undefined if there is no file. Throws FileError naming an unsupported field.
 */
export async function checkpointPreprocessing(
  weights: string | undefined,
  size: ImageSize,
): Promise<CheckpointPreprocessing | undefined> {
  const found = weights === undefined ? undefined : await storedPreprocessor(weights);
  return found && preprocessingIn(found, size);
}

/** The size of the images that the file beside `weights` makes; undefined if there is none, or it does not say. */
export async function checkpointImageSize(weights: string | undefined): Promise<ImageSize | undefined> {
  const found = weights === undefined ? undefined : await storedPreprocessor(weights);
  return found && madeSize(...checkedFile(found));
}

/** The preprocessing in a file for images of `size`. Throws FileError naming an unsupported field. */
export function preprocessingIn(file: StoredPreprocessor, size: ImageSize): CheckpointPreprocessing {
  const { path, stored } = file;
  const [json, wrong] = checkedFile(file);
  if (json.do_resize === false) throw wrong("do_resize", "but images must be resized to the model's size");
  const made = madeSize(json, wrong);
  return {
    path,
    ...normalizationOf(json, wrong),
    ...(json.do_flip_channel_order === true && { channelOrder: "bgr" as const }),
    geometry: { ...geometryOf(json, size, wrong), centre: centreOf(json), interpolation: filterOf(json, wrong) },
    ...(made !== undefined && !isProportional(made, size) && { otherwise: made }),
    ...tilesOf(json, wrong),
    ...((json.do_reduce_labels ?? json.reduce_labels) === true && { firstClass: 1 as const }),
    approximated: approximated(stored),
    unknown: unknownFields(stored),
  };
}

/** The fields of a file, with the defaults of its class, and what makes an error of one. */
function checkedFile({ path, stored }: StoredPreprocessor): [json: JsonRecord, wrong: Wrong] {
  const errorOf =
    (of: JsonRecord): Wrong =>
    (key, why) =>
      new FileError(`${path}: "${key}" is ${shown(of[key])}, ${why}`);
  const json = checkedFields(stored, errorOf(stored));
  return [json, errorOf(json)];
}

type Three = [number, number, number];

/**
 * Mean and deviation of pixels from 0 to 1. The file's are of 8-bit pixels times `rescale_factor`, usually 1/255, or of
 * those themselves without `do_rescale`.
 */
function normalizationOf(json: JsonRecord, wrong: Wrong): Pick<Preprocessing, "mean" | "std"> {
  const factor = json.do_rescale === false ? 1 : (json.rescale_factor ?? 1 / 255);
  if (typeof factor !== "number" || !(factor > 0 && factor < Infinity))
    throw wrong("rescale_factor", "but must be a number above 0");
  const scaled = (values: Three): Three => {
    const by = Math.abs(255 * factor - 1) < 1e-9 ? 1 : 255 * factor;
    return values.map((value) => value / by) as Three;
  };
  if (json.do_normalize === false) return { mean: [0, 0, 0], std: scaled([1, 1, 1]) };
  const triple = (key: string): Three => {
    const value = json[key] ?? 0.5;
    const values = typeof value === "number" ? [value, value, value] : value;
    if (Array.isArray(values) && values.length === 3 && values.every((n) => Number.isFinite(n))) return values as Three;
    throw wrong(key, "but must be a number or a list of three");
  };
  const std = triple("image_std");
  if (std.some((n) => n <= 0)) throw wrong("image_std", "but must be above 0");
  return { mean: scaled(triple("image_mean")), std: scaled(std) };
}

/** Tiles of InternVL's processor in transformers, which tiles images by default. */
function tilesOf(json: JsonRecord, wrong: Wrong): Pick<CheckpointPreprocessing, "tiles"> {
  const [least, most] = [json.min_patches ?? 1, json.max_patches ?? 12];
  if (json.crop_to_patches === undefined && json.max_patches === undefined) return {};
  if (!Number.isInteger(least) || (least as number) < 1)
    throw wrong("min_patches", "but must be an integer of at least 1");
  if (!Number.isInteger(most) || (most as number) < (least as number) || (most as number) > mostTiles)
    throw wrong("max_patches", `but must be an integer from ${least} to ${mostTiles}`);
  return { tiles: { least: least as number, most: most as number } };
}

/**
 * The preprocessor_config.json for images of `size`, for tools that read checkpoints; undefined for a geometry that no
 * image processor of transformers has.
 */
export function preprocessorConfig(
  { mean, std, fit = "crop", margin = 1, interpolation = "bicubic", channelOrder }: Preprocessing,
  size: ImageSize,
): JsonRecord | undefined {
  // The one processor that flips channels does not normalize.
  const isRaw = mean.every((n) => n === 0) && std.every((n) => n === 1);
  if (channelOrder === "bgr" && (fit !== "crop" || !isRaw)) return undefined;
  const sides = geometryFields(typeof fit === "object" ? (fit.classify ?? "crop") : fit, margin, sidesOf(size));
  return (
    sides && {
      ...sides,
      do_resize: true,
      ...(channelOrder === "bgr" ? flipped : { do_normalize: true, image_mean: mean, image_std: std }),
      resample: Number(Object.entries(filters).find(([, name]) => name === interpolation)![0]),
    }
  );
}

const flipped = { image_processor_type: "MobileViTImageProcessor", do_flip_channel_order: true };

function geometryFields(fit: PictureFit, margin: number, { width, height }: Sides): JsonRecord | undefined {
  const clip = { image_processor_type: "CLIPImageProcessor" };
  if (fit === "squash") return { ...clip, size: { height, width }, do_center_crop: false };
  if (width !== height) return undefined; // crops and paddings of transformers start from a short side, or a square
  const side = Math.round((fit === "crop" ? margin : 1) * width);
  const cropped = { size: { shortest_edge: side }, do_center_crop: true, crop_size: { height, width } };
  if (fit === "crop") return { ...clip, ...cropped };
  return { image_processor_type: "LlavaImageProcessor", ...cropped, do_pad: true };
}

export const preprocessorFile = "preprocessor_config.json";
const processorFile = "processor_config.json";

/** Pillow's numbers of the supported resampling filters. */
const filters: Readonly<Record<number, Geometry["interpolation"]>> = { 1: "lanczos", 2: "bilinear", 3: "bicubic" };

function filterOf({ resample = 3 }: JsonRecord, wrong: Wrong): Geometry["interpolation"] {
  const filter = Object.hasOwn(filters, String(resample)) ? filters[Number(resample)] : undefined;
  if (filter) return filter;
  const known = Object.entries(filters).map(([number, name]) => `${number} (${name})`);
  throw wrong("resample", `but must be one of ${known.join(", ")}`);
}
