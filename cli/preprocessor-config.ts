/** The `preprocessor_config.json` beside weights: image preprocessing, as Hugging Face's processors write it. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { FileError } from "../compiler/index.ts";
import { type Geometry, isRecord, readJson } from "../data/index.ts";
import type { JsonRecord, Preprocessing } from "../dsl/index.ts";
import { folderOf } from "./checkpoint.ts";
import { checkedFields, processorOf, unknownFields, type Wrong } from "./preprocessor-fields.ts";

export interface CheckpointPreprocessing extends Pick<Preprocessing, "mean" | "std"> {
  readonly path: string;
  readonly geometry: Omit<Geometry, "size">;
  /** The number of tiles of an image, if given. */
  readonly tiles?: { readonly least: number; readonly most: number };
  /** What the file has that nothing is known of, so that it is not applied. */
  readonly unknown: readonly string[];
}

/** A `preprocessor_config.json` as it is stored, and its path for messages. */
export interface StoredPreprocessor {
  readonly path: string;
  readonly stored: JsonRecord;
}

/** The file beside `weights`; undefined if there is none. */
export async function storedPreprocessor(weights: string): Promise<StoredPreprocessor | undefined> {
  const path = join(folderOf(weights), preprocessorFile);
  if (!existsSync(path)) return undefined;
  const stored = await readJson(path, "preprocessor configuration");
  if (!isRecord(stored)) throw new FileError(`${path}: expected a JSON object`);
  return { path, stored };
}

/**
 * The preprocessing in the file beside `weights` for images of `size` pixels; undefined if there is no file. Throws
 * FileError naming an unsupported field.
 */
export async function checkpointPreprocessing(
  weights: string | undefined,
  size: number,
): Promise<CheckpointPreprocessing | undefined> {
  const found = weights === undefined ? undefined : await storedPreprocessor(weights);
  return found && preprocessingIn(found, size);
}

/** The preprocessing in a file for images of `size` pixels. Throws FileError naming an unsupported field. */
export function preprocessingIn({ path, stored }: StoredPreprocessor, size: number): CheckpointPreprocessing {
  const errorOf =
    (of: JsonRecord): Wrong =>
    (key, why) =>
      new FileError(`${path}: "${key}" is ${JSON.stringify(of[key])}, ${why}`);
  const json = checkedFields(stored, errorOf(stored));
  const wrong = errorOf(json);
  if (json.do_resize === false) throw wrong("do_resize", "but images must be resized to a square of the model's size");
  const geometry: Omit<Geometry, "size"> = geometryOf(json, size, wrong);
  return {
    path,
    ...normalizationOf(json, wrong),
    geometry: { ...paddedAs(json, geometry, size, wrong), centre: "lower", interpolation: filterOf(json, wrong) },
    ...tilesOf(json, wrong),
    unknown: unknownFields(stored),
  };
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

/** The geometry with LLaVA's padding to a square in the mean colour; padding of squares in other classes is none. */
function paddedAs(json: JsonRecord, geometry: Omit<Geometry, "size">, size: number, wrong: Wrong) {
  if (!json.do_pad) return geometry;
  if (json.pad_size !== undefined) throw wrong("pad_size", "but padding to a size is not supported");
  if (unknownFields(json).length > 0) throw wrong("do_pad", "which is not supported for this image processor");
  if (processorOf(json) !== "Llava") return geometry;
  if ((geometry.short ?? size) !== size) throw wrong("size", "but padded images are resized to crop_size at once");
  const [r, g, b] = Object.values((json.image_mean ?? []) as readonly number[]).map((m) => Math.trunc(m * 255));
  const fill: Three = [r!, g!, b!];
  return { fit: "pad", fill } as const;
}

/** Tiles of InternVL's processor in transformers, which tiles images by default. */
function tilesOf(json: JsonRecord, wrong: Wrong): Pick<CheckpointPreprocessing, "tiles"> {
  const [least, most] = [json.min_patches ?? 1, json.max_patches ?? 12];
  if (json.crop_to_patches === undefined && json.max_patches === undefined) return {};
  if (!Number.isInteger(least) || (least as number) < 1)
    throw wrong("min_patches", "but must be an integer of at least 1");
  if (!Number.isInteger(most) || (most as number) < (least as number))
    throw wrong("max_patches", `but must be an integer of at least ${least}`);
  return { tiles: { least: least as number, most: most as number } };
}

/** The preprocessor_config.json for images of `size` pixels, for tools that read checkpoints. */
export const preprocessorConfig = (
  { mean, std, fit = "crop", margin = 1, interpolation = "bicubic" }: Preprocessing,
  size: number,
): JsonRecord => {
  const ofClasses = typeof fit === "object" ? (fit.classify ?? "crop") : fit;
  return {
    image_processor_type: "CLIPImageProcessor",
    do_resize: true,
    size: ofClasses === "crop" ? { shortest_edge: Math.round(margin * size) } : { height: size, width: size },
    do_center_crop: ofClasses === "crop",
    ...(ofClasses === "crop" && { crop_size: { height: size, width: size } }),
    do_normalize: true,
    image_mean: mean,
    image_std: std,
    resample: Number(Object.entries(filters).find(([, name]) => name === interpolation)![0]),
  };
};

export const preprocessorFile = "preprocessor_config.json";

/** Pillow's numbers of the supported resampling filters. */
const filters: Readonly<Record<number, Geometry["interpolation"]>> = { 1: "lanczos", 2: "bilinear", 3: "bicubic" };

function filterOf({ resample = 3 }: JsonRecord, wrong: Wrong): Geometry["interpolation"] {
  const filter = Object.hasOwn(filters, String(resample)) ? filters[Number(resample)] : undefined;
  if (filter) return filter;
  const known = Object.entries(filters).map(([number, name]) => `${number} (${name})`);
  throw wrong("resample", `but must be one of ${known.join(", ")}`);
}

/** Squashed to a height and a width, or resized by the short side and centre-cropped. */
function geometryOf(json: JsonRecord, size: number, wrong: Wrong): Omit<Geometry, "size"> {
  if (typeof json.crop_pct === "number") return partOfPicture(json.crop_pct, json, size, wrong);
  const sides = (key: string): { readonly short?: number; readonly square?: number } => {
    const value = json[key];
    if (value === undefined || value === null) return {};
    if (typeof value === "number") return key === "size" && json.do_center_crop ? { short: value } : { square: value };
    const { shortest_edge: short, longest_edge: long, height, width } = value as Readonly<Record<string, unknown>>;
    if (long !== undefined && long !== null) throw wrong(key, "but longest_edge is not supported");
    if (typeof short === "number") return { short };
    if (typeof height === "number" && height === width) return { square: height };
    throw wrong(key, "but must be a number, a shortest_edge, or an equal height and width");
  };
  const resized = sides("size");
  if (!json.do_center_crop && json.do_center_crop !== undefined) {
    if (resized.short !== undefined) throw wrong("do_center_crop", "but images must become squares");
    return { fit: "squash" };
  }
  const cropped = sides("crop_size").square ?? resized.short ?? resized.square ?? size;
  const short = resized.short ?? resized.square ?? cropped;
  if (json.do_center_crop === undefined && resized.square !== undefined) return { fit: "squash" };
  if (short < cropped) throw wrong("size", `which is too small for a crop of ${cropped} pixels`);
  const isStretched = resized.square !== undefined && typeof json.size !== "number";
  // In proportion, at another input size.
  return { fit: "crop", short: Math.round((short / cropped) * size), ...(isStretched && { stretched: true }) };
}

/**
 * Like ConvNeXT's processor, which ResNets also use: the crop is a fraction of the short side, and images of 384 pixels
 * or more are squashed whole.
 */
function partOfPicture(part: number, json: JsonRecord, size: number, wrong: Wrong): Omit<Geometry, "size"> {
  if (!(part > 0 && part <= 1)) throw wrong("crop_pct", "but must be a number above 0 and at most 1");
  if (json.do_center_crop) throw wrong("do_center_crop", "but crop_pct already crops images");
  const { shortest_edge: side = json.size } = Object(json.size) as Readonly<Record<string, unknown>>;
  if (typeof side !== "number") throw wrong("size", "but must be a number or a shortest_edge when crop_pct is set");
  if (side >= 384) return { fit: "squash" };
  return { fit: "crop", short: Math.round((Math.floor(side / part) / side) * size) };
}
