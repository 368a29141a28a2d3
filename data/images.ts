/** Image files to pixels: png, jpg, webp and svg, decoded off the main thread by sharp, and resized as Pillow does. */
import { constants } from "node:fs";
import { access, open as openFile, readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import sharp, { type Sharp } from "sharp";
import { FileError, UsageError } from "../compiler/index.ts";
import { type Extent, readFrom } from "./extents.ts";
import { reasonOf } from "./files.ts";
import { checkArea, fitted, type Geometry, pixelLimit, type Sides } from "./fit.ts";
import { type Pixels, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";
import { cut, type Tiling, tileCount, tilesFor } from "./tiles.ts";

// libvips caches operations by file name and would answer with the old picture after a file changes.
sharp.cache(false);

export { centred, coveringSides, type Geometry, meanColour, type Sides } from "./fit.ts";

/** A picture that lies within a file: its bytes are read where it is decoded, and nowhere else. */
export interface StoredImage extends Extent {
  readonly name: string;
  readonly file: string;
}

/** A picture to read: a path, or encoded bytes, or where these lie, with the name that errors should give them. */
export type ImageSource = string | { readonly name: string; readonly bytes: Uint8Array } | StoredImage;

/** Formats of pixels, which several threads may decode at once. */
export const photographs: readonly string[] = ["png", "jpeg", "webp"];
const formats: readonly string[] = [...photographs, "svg"];
const svgUnitsPerInch = 72; // the density at which librsvg draws one user unit as one pixel
const sideLimit = 1_000_000; // libvips shrinks by at most so much, and would leave a longer side as it is

/** What a source is called in messages. */
export const imageName = (source: ImageSource): string => (typeof source === "string" ? source : source.name);

/** Decodes and resizes one picture, turned upright by its EXIF tag. FileError naming it when it is missing, corrupt or of another format. */
export async function decodeImage(
  source: ImageSource,
  geometry: Geometry,
  accepted: readonly string[] = formats,
): Promise<Pixels> {
  if (!Number.isInteger(geometry.size) || geometry.size < 1) {
    throw new UsageError(`the image size must be a whole number of pixels, it is ${geometry.size}`);
  }
  return await reading(source, async (input) => {
    const picture = await open(input, geometry.size, accepted);
    return await fitted({ ...picture, read: () => raw(picture) }, geometry);
  });
}

/**
 * Decodes the window that `windowOf` chooses of a picture's width and height, resized to a square of `size` pixels: cut
 * from the picture as it is stored, not from a square made of it. FileError as `decodeImage`.
 */
export const decodeWindow = (
  source: ImageSource,
  size: number,
  windowOf: (picture: { readonly width: number; readonly height: number }) => Window,
  interpolation: Interpolation = "bicubic",
): Promise<Pixels> =>
  reading(source, async (input) => {
    const picture = await open(input, size, photographs);
    const window = windowOf(picture);
    return resizePixels(await raw(picture, window), { width: size, height: size, interpolation });
  });

/**
 * The tiles of one picture, each a square of `tiling.size` pixels: the whole resized to as many squares as `tilesFor` says and
 * cut, row by row; then, where there are several and a thumbnail is asked for, the whole resized to one. FileError as
 * `decodeImage`.
 */
export const decodeTiles = (
  source: ImageSource,
  tiling: Tiling,
  interpolation: Interpolation = "bicubic",
  accepted: readonly string[] = formats,
): Promise<Pixels[]> =>
  reading(source, async (input) => {
    const picture = await open(input, tiling.size, accepted);
    const { size } = tiling;
    const { columns, rows } = tilesFor(picture, tiling);
    const sides = { width: columns * size, height: rows * size };
    if (sides.width > picture.width || sides.height > picture.height) checkArea(sides.width, sides.height, picture);
    const whole = await raw(picture);
    const tiles = cut(resizePixels(whole, { ...sides, interpolation }), size);
    if (tiles.length === 1 || !tiling.thumbnail) return tiles;
    return [...tiles, resizePixels(whole, { width: size, height: size, interpolation })];
  });

/** Decodes a picture and resizes it to the sides that `sidesOf` makes of its own. FileError as `decodeImage`. */
export const decodeResized = (
  source: ImageSource,
  sidesOf: (picture: Sides) => Sides,
  interpolation: Interpolation = "bicubic",
): Promise<Pixels> =>
  reading(source, async (input) => {
    const { width, height } = sidesOf(await open(input, 1));
    const picture = await open(input, Math.min(width, height));
    if (width > picture.width || height > picture.height) checkArea(width, height, picture);
    return resizePixels(await raw(picture), { width, height, interpolation });
  });

/** How many pictures `decodeTiles` makes of one, without decoding it. FileError as `decodeImage`. */
export const countTiles = async (source: ImageSource, tiling: Tiling): Promise<number> =>
  tileCount(await imageSides(source), tiling);

/** Width and height of a picture in pixels, turned upright, without decoding it. FileError as `decodeImage`. */
export const imageSides = (source: ImageSource): Promise<{ readonly width: number; readonly height: number }> =>
  reading(source, async (input) => {
    const { width, height } = await open(input, 1);
    return { width, height };
  });

/** A picture as grey values [row, column] of a square, over white where it is transparent. FileError as `decodeImage`. */
export const decodeGrey = (source: ImageSource, size: number): Promise<Uint8Array> =>
  reading(source, async (input) => {
    const { image } = await open(input, size);
    const grey = image.flatten({ background: "#fff" }).toColourspace("b-w").resize(size, size, { fit: "fill" });
    return await grey.extractChannel(0).raw({ depth: "uchar" }).toBuffer();
  });

/** Class numbers of pixels: uint8 [row, column]. */
export interface Classes {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Decodes an annotation, a grey png of 8 bits; FileError naming it when it is anything else. */
export async function decodeClasses(source: ImageSource): Promise<Classes> {
  try {
    const input = await inputOf(source);
    const { format, channels, bitsPerSample } = await sharp(input, { limitInputPixels: pixelLimit }).metadata();
    if (format !== "png" || channels !== 1 || (bitsPerSample ?? 8) !== 8) {
      throw new FileError("class numbers are read from grey png files of 8 bits a pixel, without palette");
    }
    const image = sharp(input, { limitInputPixels: pixelLimit, failOn: "error" }).toColourspace("b-w");
    const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  } catch (cause) {
    throw new FileError(`annotation "${imageName(source)}" cannot be read: ${reasonOf(cause)}`, { cause });
  }
}

/** Pictures under way at once: enough to keep the decoder threads fed, few enough to bound memory. */
export const defaultConcurrency = Math.min(8, 2 * availableParallelism());

/** A picture as a PNG data URI of at most `size` pixels a side, for a page that carries its images. */
export const imageDataUri = (source: ImageSource, size: number): Promise<string> =>
  reading(source, async (input) => {
    const { image } = await open(input, size);
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

/** Whether a file begins as one of pixels does. */
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

/** Drawings that are broken and read at once end the process: librsvg, as sharp 0.35 brings it, then corrupts memory. */
function oneAtATime<T>(work: () => Promise<T>): Promise<T> {
  const next = drawing.then(work);
  drawing = next.catch(() => {});
  return next;
}

interface Opened {
  readonly image: Sharp;
  readonly width: number;
  readonly height: number;
  /** Inks instead of light: cyan, magenta, yellow and black. */
  readonly inks: boolean;
}

async function open(input: Input, size: number, accepted: readonly string[] = formats): Promise<Opened> {
  const found = await sharp(input, { limitInputPixels: pixelLimit }).metadata();
  if (!accepted.includes(found.format)) {
    const names = accepted.map((format) => (format === "jpeg" ? "jpg" : format));
    throw new FileError(`it is a ${found.format} file; ${names.slice(0, -1).join(", ")} and ${names.at(-1)} are read`);
  }
  const { width, height } = found.autoOrient;
  if (Math.max(width, height) > sideLimit) {
    throw new FileError(`it has ${width} x ${height} pixels; a side has at most ${sideLimit}`);
  }
  // An svg is drawn at the size that is wanted, never enlarged from its nominal pixels.
  const enlarge = found.format === "svg" ? Math.max(1, Math.ceil(size / Math.min(width, height))) : 1;
  const density = svgUnitsPerInch * enlarge;
  // Colour profiles are passed over, as Pillow does and so whoever trained the published models.
  const options = { limitInputPixels: pixelLimit, failOn: "error", density, ignoreIcc: true } as const;
  const image = sharp(input, options).autoOrient();
  const inks = found.space === "cmyk";
  const colours = inks ? image.pipelineColourspace("cmyk").toColourspace("cmyk") : image.toColourspace("srgb");
  return { image: colours, width: width * enlarge, height: height * enlarge, inks };
}

/** The encoded bytes of a picture. */
export const encodedBytes = async (source: ImageSource): Promise<Uint8Array> => {
  if (typeof source === "string") return await readFile(source);
  return "bytes" in source ? source.bytes : await readFrom(source.file, source);
};

async function inputOf(source: ImageSource): Promise<Input> {
  if (typeof source !== "string") return await encodedBytes(source);
  // Reading a pipe would wait for ever.
  if (!(await stat(source)).isFile()) throw new FileError("it is not an ordinary file");
  await access(source, constants.R_OK); // the decoder would call it of another format
  return source;
}

/** The pixels of a picture, or of a window of it. */
async function raw({ image, inks }: Opened, window?: Window): Promise<Pixels> {
  const { data, info } = await (window ? image.extract(window) : image)
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  if (inks) return { width, height, channels: 3, data: lightOf(data, info.channels) };
  return { width, height, channels: info.channels as 3 | 4, data };
}

/** Light of inks as Pillow has it, without a profile: each colour is what its ink and black leave. */
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
