/** Image files to pixels: png, jpg, webp and svg, decoded off the main thread by sharp, and resized as Pillow does. */
import { constants } from "node:fs";
import { access, open as openFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import sharp, { type Sharp } from "sharp";
import { FileError, UsageError } from "../compiler/index.ts";
import { reasonOf } from "./files.ts";
import { type Pixels, padPixels, type Rgb, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";
import type { Interpolation } from "./resample-kernels.ts";

// libvips caches operations by file name and would answer with the old picture after a file changes.
sharp.cache(false);

/** A picture to read: a path, or encoded bytes with the name that errors should give them. */
export type ImageSource = string | { readonly name: string; readonly bytes: Uint8Array };

/**
 * How any picture becomes a square of `size` pixels, to the bit as Pillow and torchvision make it:
 * `squash` resizes directly and keeps no aspect ratio (retrieval, captioning);
 * `crop` resizes the short side and cuts the centre out (classification);
 * `pad` first pads the short side with `fill`, default the ImageNet mean colour (chat).
 */
export interface Geometry {
  readonly size: number;
  readonly fit: "squash" | "crop" | "pad";
  readonly fill?: Rgb;
  /** What the short side of a picture becomes before the centre of `size` pixels is cut out; default `size`. */
  readonly short?: number;
  /** With `crop`, whether both sides become `short` first, whatever they were: as some published processors have it. */
  readonly stretched?: boolean;
  /** Where a centre lies between two pixels: the even one, as in torchvision, or the lower one, as in transformers. Default even. */
  readonly centre?: "even" | "lower";
  /** Default bicubic, as all of the published models have it that are known here. */
  readonly interpolation?: Interpolation;
}

/** The ImageNet mean as 8-bit colour, which LLaVA-style models pad with. */
export const meanColour: Rgb = [123, 116, 103];

/** Formats of pixels, which several threads may decode at once. */
export const photographs: readonly string[] = ["png", "jpeg", "webp"];
const formats: readonly string[] = [...photographs, "svg"];
const svgUnitsPerInch = 72; // the density at which librsvg draws one user unit as one pixel
const pixelLimit = 100_000_000; // a decompression bomb is refused before it is decoded
const sideLimit = 1_000_000; // libvips shrinks by at most so much, and would leave a longer side as it is
const enlargedLimit = 16_000_000; // and so is a thin picture, which padding or cropping would make enormous
const mostEnlarged = 4; // photos and panoramas become at most so many times as large as they are

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
    return await fitted(picture, geometry);
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

async function inputOf(source: ImageSource): Promise<Input> {
  if (typeof source !== "string") return source.bytes;
  // Reading a pipe would wait for ever.
  if (!(await stat(source)).isFile()) throw new FileError("it is not an ordinary file");
  await access(source, constants.R_OK); // the decoder would call it of another format
  return source;
}

async function fitted(picture: Opened, geometry: Geometry): Promise<Pixels> {
  const { size, fit, fill, short = size, stretched = false, centre, interpolation = "bicubic" } = geometry;
  const { width, height } = picture;
  if (fit === "pad") {
    const side = Math.max(width, height);
    checkArea(side, side, picture);
    return resizePixels(padPixels(await raw(picture), fill ?? meanColour), {
      width: size,
      height: size,
      interpolation,
    });
  }
  const covered = Math.max(short, size);
  const aspect = stretched ? { width: 1, height: 1 } : picture;
  const sides = fit === "crop" ? coveringSides(aspect, covered) : { width: size, height: size };
  if (sides.width > width || sides.height > height) checkArea(sides.width, sides.height, picture);
  return resizePixels(await raw(picture), { ...sides, window: centred(sides, size, centre), interpolation });
}

/** In pixels. */
export interface Sides {
  readonly width: number;
  readonly height: number;
}

/** The sides of a picture whose short one becomes `size`; the long one is cut off to whole pixels, as torchvision does. */
export function coveringSides({ width, height }: Sides, size: number): Sides {
  const long = (side: number) => Math.floor((size * side) / Math.min(width, height));
  return width <= height ? { width: size, height: long(height) } : { width: long(width), height: size };
}

/** The square of `size` pixels in the middle of larger sides: torchvision's CenterCrop, or that of transformers. */
export function centred({ width, height }: Sides, size: number, centre: Geometry["centre"] = "even"): Window {
  const round = centre === "even" ? halfEven : Math.floor;
  return { left: round((width - size) / 2), top: round((height - size) / 2), width: size, height: size };
}

function checkArea(width: number, height: number, from: Sides): void {
  const area = width * height;
  const most = Math.max(enlargedLimit, Math.min(pixelLimit, mostEnlarged * from.width * from.height));
  if (area <= most) return;
  const sides = [from.width, from.height];
  const what = Math.max(...sides) > mostEnlarged * Math.min(...sides) ? "long and narrow" : "large";
  throw new FileError(`it is too ${what}: it would have to become ${width} x ${height} pixels`);
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

/** Rounds a half to the even neighbour, as Python's `round` in torchvision's CenterCrop does. */
const halfEven = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
