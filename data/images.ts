/** Decodes image files: PNG, JPEG, WebP and SVG, by sharp off the main thread, resized as in Pillow. */
import { constants } from "node:fs";
import { access, open as openFile, readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { promisify } from "node:util";
import zlib from "node:zlib";
import sharp, { type Sharp } from "sharp";
import { FileError, requireImageSize, type Sides, sidesOf } from "../compiler/index.ts";
import { type Extent, readFrom } from "./extents.ts";
import { reasonOf } from "./files.ts";
import { checkArea, fitted, type Geometry, pixelLimit } from "./fit.ts";
import { paletteIndices } from "./palette-png.ts";
import { overWhite, type Pixels, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";
import { checkFilterWork } from "./svg-filters.ts";
import { cut, type Tiling, tileCount, tilesFor } from "./tiles.ts";

// libvips caches operations by file name and would return the old image after a file changes.
sharp.cache(false);

export { centred, coveringSides, type Geometry, meanColour, paddedSides } from "./fit.ts";

/** An image stored within a file, read only where it is decoded. */
export interface StoredImage extends Extent {
  readonly name: string;
  readonly file: string;
}

/** An image to read: a path, encoded bytes, or a range of a file, with the name to use in errors. */
export type ImageSource = string | { readonly name: string; readonly bytes: Uint8Array } | StoredImage;

/** Raster formats, which several threads may decode at once. */
export const photographs: readonly string[] = ["png", "jpeg", "webp"];
const formats: readonly string[] = [...photographs, "svg"];
const svgUnitsPerInch = 72; // the density at which librsvg draws one user unit as one pixel
const sideLimit = 1_000_000; // libvips' maximum shrink factor: it would not resize a longer side

/** A source's name in messages. */
export const imageName = (source: ImageSource): string => (typeof source === "string" ? source : source.name);

/**
 * Decodes and resizes an image, rotated by its EXIF tag. FileError naming it when it is missing, corrupt or in another
 * format.
 */
export async function decodeImage(
  source: ImageSource,
  geometry: Geometry,
  accepted: readonly string[] = formats,
): Promise<Pixels> {
  requireImageSize(geometry.size);
  return await reading(source, async (input) => {
    const picture = await open(input, sidesOf(geometry.size), accepted);
    return await fitted({ ...picture, read: () => raw(picture) }, geometry);
  });
}

/**
 * Decodes the window that `windowOf` chooses from an image's width and height, resized to `size`;
 * cropped from the original image, not from a resized one. Alpha as in `Geometry`. FileError as in `decodeImage`.
 */
export const decodeWindow = (
  source: ImageSource,
  { size, keepsAlpha, interpolation = "bicubic" }: Pick<Geometry, "size" | "keepsAlpha" | "interpolation">,
  windowOf: (picture: Sides) => Window,
): Promise<Pixels> =>
  reading(source, async (input) => {
    const picture = await open(input, sidesOf(size), photographs);
    const window = windowOf(picture);
    const pixels = await raw(picture, window);
    return resizePixels(keepsAlpha ? pixels : overWhite(pixels), { ...sidesOf(size), interpolation });
  });

/**
 * The tiles of an image, each a square of `tiling.size` pixels: the image is resized to the grid that `tilesFor`
 * chooses and split row by row. If there are several tiles, and a thumbnail is requested, the whole image resized to
 * one tile follows. Transparent images are composited over white. FileError as in `decodeImage`.
 */
export const decodeTiles = (
  source: ImageSource,
  tiling: Tiling,
  interpolation: Interpolation = "bicubic",
  accepted: readonly string[] = formats,
): Promise<Pixels[]> =>
  reading(source, async (input) => {
    const picture = await open(input, sidesOf(tiling.size), accepted);
    const { size } = tiling;
    const { columns, rows } = tilesFor(picture, tiling);
    const sides = { width: columns * size, height: rows * size };
    if (sides.width > picture.width || sides.height > picture.height) checkArea(sides.width, sides.height, picture);
    const whole = overWhite(await raw(picture));
    const tiles = cut(resizePixels(whole, { ...sides, interpolation }), size);
    if (tiles.length === 1 || !tiling.thumbnail) return tiles;
    return [...tiles, resizePixels(whole, { width: size, height: size, interpolation })];
  });

/**
 * Decodes an image and resizes it to the size that `resized` computes from its own; a transparent one is composited
 * over white. FileError as in `decodeImage`.
 */
export const decodeResized = (
  source: ImageSource,
  resized: (picture: Sides) => Sides,
  interpolation: Interpolation = "bicubic",
): Promise<Pixels> =>
  reading(source, async (input) => {
    const { width, height } = resized(await open(input, onePixel));
    const picture = await open(input, { width, height });
    if (width > picture.width || height > picture.height) checkArea(width, height, picture);
    return resizePixels(overWhite(await raw(picture)), { width, height, interpolation });
  });

/** The number of images that `decodeTiles` makes of one, without decoding it. FileError as in `decodeImage`. */
export const countTiles = async (source: ImageSource, tiling: Tiling): Promise<number> =>
  tileCount(await imageSides(source), tiling);

/** Width and height of an image in pixels, after EXIF rotation, without decoding it. FileError as in `decodeImage`. */
export const imageSides = (source: ImageSource): Promise<Sides> =>
  reading(source, async (input) => {
    const { width, height } = await open(input, onePixel);
    return { width, height };
  });

/** An image as a square of grey values [row, column], with transparency over white. FileError as in `decodeImage`. */
export const decodeGrey = (source: ImageSource, size: number): Promise<Uint8Array> =>
  reading(source, async (input) => {
    const { image } = await open(input, sidesOf(size));
    const grey = image.flatten({ background: "#fff" }).toColourspace("b-w").resize(size, size, { fit: "fill" });
    return await grey.extractChannel(0).raw({ depth: "uchar" }).toBuffer();
  });

/** Class number per pixel: uint8 [row, column]. */
export interface Classes {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Decodes an annotation, an 8-bit PNG of greys or with a palette; FileError naming it when it is anything else. */
export async function decodeClasses(source: ImageSource): Promise<Classes> {
  try {
    const input = await inputOf(source);
    const { format, channels, bitsPerSample, isPalette } = await sharp(input, {
      limitInputPixels: pixelLimit,
    }).metadata();
    if (format !== "png" || (channels !== 1 && !isPalette) || (bitsPerSample ?? 8) !== 8) {
      throw new FileError("expected an 8-bit PNG of class numbers, as greys or as indices of a palette");
    }
    const numbers = isPalette ? paletteIndices(typeof input === "string" ? await readFile(input) : input) : input;
    const image = sharp(numbers, { limitInputPixels: pixelLimit, failOn: "error" }).toColourspace("b-w");
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  } catch (cause) {
    throw new FileError(`mask "${imageName(source)}" cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

/** Images decoded concurrently: enough to keep the decoder threads busy, few enough to bound memory. */
export const defaultConcurrency = Math.min(8, 2 * availableParallelism());

/** An image as a PNG data URI of at most `size` pixels per side, for embedding in a page. */
export const imageDataUri = (source: ImageSource, size: number): Promise<string> =>
  reading(source, async (input) => {
    const { image } = await open(input, sidesOf(size));
    const png = await image
      .resize(size, size, { fit: "inside", withoutEnlargement: true })
      .png({ compressionLevel: 9, palette: true })
      .toBuffer();
    return `data:image/png;base64,${png.toString("base64")}`;
  });

type Input = string | Uint8Array;

async function reading<T>(source: ImageSource, work: (input: Input) => Promise<T>): Promise<T> {
  try {
    const input = await inputOf(source);
    return await ((await isPhotograph(input)) ? work(input) : oneAtATime(() => work(input)));
  } catch (cause) {
    throw new FileError(`image "${imageName(source)}" cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

/** Whether a file has the signature of a raster format. */
async function isPhotograph(input: Input): Promise<boolean> {
  const head = typeof input === "string" ? await headOf(input) : input.subarray(0, headBytes);
  const text = Buffer.from(head).toString("latin1");
  return /^(\x89PNG|\xff\xd8\xff|RIFF[\s\S]{4}WEBP)/.test(text);
}

const headBytes = 12;

async function headOf(path: string): Promise<Uint8Array> {
  const file = await openFile(path);
  try {
    const { buffer, bytesRead } = await file.read(new Uint8Array(headBytes), 0, headBytes, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

let drawing: Promise<unknown> = Promise.resolve();

/**
 * Serializes SVG rendering: librsvg, as bundled with sharp 0.35, corrupts memory and crashes when several broken
 * drawings are read at once.
 */
function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
  const next = drawing.then(work);
  drawing = next.catch(() => {});
  return next;
}

interface Opened {
  readonly image: Sharp;
  readonly width: number;
  readonly height: number;
  /** Whether the image is CMYK. */
  readonly inks: boolean;
}

const onePixel: Sides = { width: 1, height: 1 };

/** Opens an image that will have at least these sides. */
async function open(input: Input, least: Sides, accepted: readonly string[] = formats): Promise<Opened> {
  const found = await sharp(input, { limitInputPixels: pixelLimit }).metadata();
  if (!accepted.includes(found.format)) {
    const names = accepted.map((format) => (format === "jpeg" ? "jpg" : format));
    throw new FileError(
      `it is a ${found.format} file; supported formats are ${names.slice(0, -1).join(", ")} and ${names.at(-1)}`,
    );
  }
  const { width, height } = found.autoOrient;
  if (Math.max(width, height) > sideLimit) {
    throw new FileError(`it has ${width} x ${height} pixels; each side can have at most ${sideLimit}`);
  }
  // An SVG is drawn at the requested size, not enlarged from its nominal pixels.
  const enlarge =
    found.format === "svg" ? Math.max(1, Math.ceil(least.width / width), Math.ceil(least.height / height)) : 1;
  const density = svgUnitsPerInch * enlarge;
  if (found.format === "svg") {
    checkFilterWork(await drawingText(input), { width: width * enlarge, height: height * enlarge });
  }
  // Colour profiles are ignored, as in Pillow and thus in the training of published models.
  const options = { limitInputPixels: pixelLimit, failOn: "error", density, ignoreIcc: true } as const;
  const image = sharp(input, options).autoOrient();
  const inks = found.space === "cmyk";
  const colours = inks ? image.pipelineColourspace("cmyk").toColourspace("cmyk") : image.toColourspace("srgb");
  return { image: colours, width: width * enlarge, height: height * enlarge, inks };
}

/** The text of an SVG file, which may be compressed. */
async function drawingText(input: Input): Promise<string> {
  const bytes = typeof input === "string" ? await readFile(input) : input;
  const isCompressed = bytes[0] === 0x1f && bytes[1] === 0x8b;
  return new TextDecoder().decode(isCompressed ? await gunzip(bytes, { maxOutputLength: 2 ** 28 }) : bytes);
}

const gunzip = promisify(zlib.gunzip);

/** The encoded bytes of an image. */
export const encodedBytes = async (source: ImageSource): Promise<Uint8Array> => {
  if (typeof source === "string") return await readFile(source);
  return "bytes" in source ? source.bytes : await readFrom(source.file, source);
};

async function inputOf(source: ImageSource): Promise<Input> {
  if (typeof source !== "string") return await encodedBytes(source);
  // Reading a pipe would block forever.
  if (!(await stat(source)).isFile()) throw new FileError("it is not a regular file");
  await access(source, constants.R_OK); // the decoder would report an unsupported format instead
  return source;
}

/** The pixels of an image, or of a window of it. */
async function raw({ image, inks }: Opened, window?: Window): Promise<Pixels> {
  const { data, info } = await (window ? image.extract(window) : image)
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  if (inks) return { width, height, channels: 3, data: lightOf(data, info.channels) };
  return { width, height, channels: info.channels as 3 | 4, data };
}

/** CMYK to RGB without a colour profile, as in Pillow. */
function lightOf(inks: Uint8Array, channels: number): Uint8Array {
  const light = new Uint8Array((inks.length / channels) * 3);
  for (let from = 0, to = 0; from < inks.length; from += channels, to += 3) {
    const left = 255 - inks[from + 3]!;
    for (let c = 0; c < 3; c += 1) {
      const product = inks[from + c]! * left + 128;
      light[to + c] = Math.max(0, left - (((product >> 8) + product) >> 8));
    }
  }
  return light;
}
