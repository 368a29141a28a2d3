/** Image files to pixels: png, jpg, webp and svg, decoded and resized off the main thread by sharp. */
import { open as openFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import sharp, { type Sharp } from "sharp";
import { FileError, UsageError } from "../compiler/index.ts";
import { reasonOf } from "./files.ts";
import { cutPixels, type Pixels, type Rgb, resizePixels } from "./pixels.ts";
import type { Window } from "./resample.ts";

// libvips caches operations by file name and would answer with the old picture after a file changes.
sharp.cache(false);

/** A picture to read: a path, or encoded bytes with the name that errors should give them. */
export type ImageSource = string | { readonly name: string; readonly bytes: Uint8Array };

/**
 * How any picture becomes a square of `size` pixels, always bicubic:
 * `squash` resizes directly and keeps no aspect ratio (retrieval, captioning);
 * `crop` resizes the short side and cuts the centre out (classification);
 * `pad` first pads the short side with `fill`, default the ImageNet mean colour (chat).
 */
export interface Geometry {
  readonly size: number;
  readonly fit: "squash" | "crop" | "pad";
  readonly fill?: Rgb;
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
    return await (geometry.fit === "pad" ? padded(picture, geometry) : resized(picture, geometry));
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
): Promise<Pixels> =>
  reading(source, async (input) => {
    const picture = await open(input, size, photographs);
    const window = windowOf(picture);
    const cut = picture.image.extract(window);
    if (size > window.width || size > window.height) return resizePixels(await raw(cut), size, size);
    return await raw(cut.resize(size, size, { fit: "fill", kernel: "cubic", fastShrinkOnLoad: false }));
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
  const image = sharp(input, { limitInputPixels: pixelLimit, failOn: "error", density }).autoOrient();
  return { image: image.toColourspace("srgb"), width: width * enlarge, height: height * enlarge };
}

async function inputOf(source: ImageSource): Promise<Input> {
  if (typeof source !== "string") return source.bytes;
  // Reading a pipe would wait for ever.
  if (!(await stat(source)).isFile()) throw new FileError("it is not an ordinary file");
  return source;
}

async function padded(picture: Opened, geometry: Geometry): Promise<Pixels> {
  const side = Math.max(picture.width, picture.height);
  checkArea(side, side);
  const [left, top] = [Math.floor((side - picture.width) / 2), Math.floor((side - picture.height) / 2)];
  const [right, bottom] = [side - picture.width - left, side - picture.height - top];
  const [r, g, b] = geometry.fill ?? meanColour;
  const square = await raw(picture.image.extend({ left, top, right, bottom, background: { r, g, b, alpha: 1 } }));
  const image = sharp(square.data, { raw: { width: side, height: side, channels: square.channels } });
  return resized({ image, width: side, height: side }, { size: geometry.size, fit: "squash" });
}

async function resized(picture: Opened, { size, fit }: Geometry): Promise<Pixels> {
  const scale = size / Math.min(picture.width, picture.height);
  const stretch = (side: number) => (fit === "squash" ? size : Math.max(size, Math.floor(side * scale)));
  const [width, height] = [stretch(picture.width), stretch(picture.height)];
  const centred = { left: halfEven((width - size) / 2), top: halfEven((height - size) / 2), width: size, height: size };
  if (width > picture.width || height > picture.height) {
    checkArea(width, height);
    // libvips enlarges with a shift of half a pixel of the result, which models trained with Pillow do not expect.
    return cutPixels(resizePixels(await raw(picture.image), width, height), centred);
  }
  const image = picture.image.resize(width, height, { fit: "fill", kernel: "cubic", fastShrinkOnLoad: false });
  return raw(image.extract(centred));
}

function checkArea(width: number, height: number): void {
  if (width * height <= enlargedLimit) return;
  throw new FileError(`it is too long and narrow: it would have to become ${width} x ${height} pixels`);
}

async function raw(image: Sharp): Promise<Pixels> {
  const { data, info } = await image.raw({ depth: "uchar" }).toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, channels: info.channels as 3 | 4, data };
}

/** Rounds a half to the even neighbour, as Python's `round` in torchvision's CenterCrop does. */
export const halfEven = (x: number) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));
