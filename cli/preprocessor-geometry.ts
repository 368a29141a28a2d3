/** How the images of a `preprocessor_config.json` get their size. */
import { type ImageSize, scaledSize, sidesOf, sizeOfSides, sizeText } from "../compiler/index.ts";
import { type Geometry, meanColour } from "../data/index.ts";
import type { JsonRecord } from "../dsl/index.ts";
import { processorOf, unknownFields, type Wrong } from "./preprocessor-fields.ts";

type Shape = Omit<Geometry, "size">;

/** A field that is a size: of the short side, or of both. */
interface SizeField {
  readonly short?: number;
  readonly size?: ImageSize;
}

function resizedBy(json: JsonRecord, key: string, wrong: Wrong): SizeField {
  const value = json[key];
  if (value === undefined || value === null) return {};
  if (typeof value === "number") return key === "size" && json.do_center_crop ? { short: value } : { size: value };
  if (Array.isArray(value)) return { size: sizeOfPair(json, key, value, wrong) };
  const { shortest_edge: short, longest_edge: long, height, width } = value as Readonly<Record<string, unknown>>;
  if (long !== undefined && long !== null) throw wrong(key, "but longest_edge is not supported");
  if (typeof short === "number") return { short };
  if (typeof height === "number" && typeof width === "number") return { size: sizeOfSides({ width, height }) };
  throw wrong(key, "but must be a number, a shortest_edge, or a height and a width");
}

/** A size of older files, a list: height and width, or width and height in Donut's. */
function sizeOfPair(json: JsonRecord, key: string, pair: readonly unknown[], wrong: Wrong): ImageSize {
  const [height, width] = isLetterboxed(json) ? pair.toReversed() : pair;
  if (pair.length === 2 && typeof height === "number" && typeof width === "number")
    return sizeOfSides({ width, height });
  throw wrong(key, "but a list must have a height and a width");
}

/** The size of the images that the file makes; undefined if it leaves that to the model. */
export function madeSize(json: JsonRecord, wrong: Wrong): ImageSize | undefined {
  const resized = resizedBy(json, "size", wrong);
  const isCropped = json.do_center_crop ?? (resized.size === undefined && typeof json.crop_pct !== "number");
  return (isCropped ? resizedBy(json, "crop_size", wrong).size : undefined) ?? resized.size ?? resized.short;
}

/** Whether two sizes have the same aspect ratio. */
export function isProportional(a: ImageSize, b: ImageSize): boolean {
  const [one, other] = [sidesOf(a), sidesOf(b)];
  return one.width * other.height === one.height * other.width;
}

/**
 * The geometry of a file for images of `size`. Throws for a field that it cannot obey. A file for a size of another
 * aspect ratio is obeyed along each side.
 */
export const geometryOf = (json: JsonRecord, size: ImageSize, wrong: Wrong): Shape =>
  isLetterboxed(json) ? letterbox(json, wrong) : paddedAs(json, resizedAs(json, size, wrong), wrong);

/** Squashed to a height and a width, or resized by the short side and centre-cropped. */
function resizedAs(json: JsonRecord, size: ImageSize, wrong: Wrong): Shape {
  if (typeof json.crop_pct === "number") return partOfPicture(json.crop_pct, json, size, wrong);
  const resized = resizedBy(json, "size", wrong);
  if (!json.do_center_crop && json.do_center_crop !== undefined) {
    if (resized.short !== undefined) throw wrong("do_center_crop", "but images must get the model's size");
    return { fit: "squash" };
  }
  if (json.do_center_crop === undefined && resized.size !== undefined) return { fit: "squash" };
  const made = madeSize(json, wrong) ?? size;
  const isStretched = resized.size !== undefined && typeof json.size !== "number";
  const cover = resized.short ?? resized.size ?? made;
  return { fit: "crop", cover: inProportion(cover, made, size), ...(isStretched && { stretched: true }) };
}

/** What covers the crop of a model's `size`, as `cover` does that of `made`. */
function inProportion(cover: ImageSize, made: ImageSize, size: ImageSize): ImageSize {
  const [whole, from, to] = [sidesOf(cover), sidesOf(made), sidesOf(size)];
  const scaled = {
    width: Math.round((whole.width / from.width) * to.width),
    height: Math.round((whole.height / from.height) * to.height),
  };
  if (typeof cover !== "number") return sizeOfSides(scaled);
  // A short side remains one where the crop keeps its aspect ratio.
  return isProportional(made, size) ? Math.round((cover / from.width) * to.width) : sizeOfSides(scaled);
}

/**
 * Like ConvNeXT's processor, which ResNets also use: the crop is a fraction of the short side, and images of 384 pixels
 * or more are squashed whole.
 */
function partOfPicture(part: number, json: JsonRecord, size: ImageSize, wrong: Wrong): Shape {
  if (!(part > 0 && part <= 1)) throw wrong("crop_pct", "but must be a number above 0 and at most 1");
  if (json.do_center_crop) throw wrong("do_center_crop", "but crop_pct already crops images");
  const { shortest_edge: side = json.size } = Object(json.size) as Readonly<Record<string, unknown>>;
  if (typeof side !== "number") throw wrong("size", "but must be a number or a shortest_edge when crop_pct is set");
  if (side >= 384) return { fit: "squash" };
  return { fit: "crop", cover: scaledSize(size, Math.floor(side / part) / side) };
}

/** The geometry with LLaVA's padding to a square in the mean colour; padding of squares in other classes is none. */
function paddedAs(json: JsonRecord, geometry: Shape, wrong: Wrong): Shape {
  if (!json.do_pad) return geometry;
  if (json.pad_size !== undefined) throw wrong("pad_size", "but padding to a size is not supported");
  if (unknownFields(json).length > 0) throw wrong("do_pad", "which is not supported for this image processor");
  if (processorOf(json) !== "Llava") return geometry;
  const [{ short, size }, made] = [resizedBy(json, "size", wrong), madeSize(json, wrong)!];
  if (sizeText(short ?? size ?? made) !== sizeText(made))
    throw wrong("size", "but padded images are resized to crop_size at once");
  if (!isProportional(made, 1)) throw wrong("crop_size", "but images are padded to squares");
  return { fit: "pad", fill: meanColour(json.image_mean as [number, number, number]) };
}

/** Whether images are resized to fit into the size, then padded, as by Donut's processor. */
const isLetterboxed = (json: JsonRecord): boolean => processorOf(json) === "Donut";

/** Donut's geometry, which is the same for every size. Throws for parts of it that are switched off. */
function letterbox(json: JsonRecord, wrong: Wrong): Shape {
  for (const key of ["do_thumbnail", "do_pad"])
    if (json[key] === false) throw wrong(key, "but images must get the model's size");
  return { fit: "pad", padding: "after", fill: [0, 0, 0] };
}
