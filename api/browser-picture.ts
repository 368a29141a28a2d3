/** Images in the browser: decoded by it, then processed by the same code as in Node. */
import { FileError, type HostTensor, UsageError } from "../compiler/index.ts";
import { fitted, type Pixels, pixelLimit } from "../data/browser-index.ts";
import { kindOfValue } from "../dsl/index.ts";
import { geometryOf, type PictureOptions, pictureTensor } from "./picture.ts";
import { type Source, wholeOf } from "./sources.ts";

const mostBytes = 2 ** 30;

/**
 * An image, in any format that the browser decodes or already decoded, as a model's input `pixels`: f32 [batch = 1,
 * channel, row, column], cropped, resized and normalized as the model requires, bit-identical to Pillow on the decoded
 * pixels. Throws FileError for a broken file.
 */
export async function picture(source: Source | ImageBitmapSource, options: PictureOptions): Promise<HostTensor> {
  const geometry = geometryOf(options);
  const bitmap = await decoded(source);
  try {
    const { width, height } = bitmap;
    return pictureTensor(await fitted({ width, height, read: () => pixelsOf(bitmap) }, geometry), options);
  } finally {
    bitmap.close();
  }
}

async function decoded(source: Source | ImageBitmapSource): Promise<ImageBitmap> {
  // A drop without files, or a file input that was cancelled.
  if (typeof source !== "string" && (typeof source !== "object" || source === null))
    throw new UsageError(
      `an image must be a File, a Blob, a URL, bytes or a decoded image, got ${kindOfValue(source)}`,
    );
  const isFile = typeof source === "string" || source instanceof URL || source instanceof Uint8Array;
  const image = isFile ? new Blob([new Uint8Array(await wholeOf(source, mostBytes))]) : (source as ImageBitmapSource);
  try {
    // Like Pillow: EXIF orientation applied, colour profiles ignored, alpha not premultiplied.
    return await createImageBitmap(image, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch (cause) {
    throw new FileError(`the image cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function pixelsOf(bitmap: ImageBitmap): Pixels {
  const { width, height } = bitmap;
  if (width * height > pixelLimit)
    throw new FileError(`the image has ${width} x ${height} pixels; the limit is ${pixelLimit}`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rgba = new Uint8Array(data.buffer);
  return isOpaque(rgba)
    ? { width, height, channels: 3, data: withoutAlpha(rgba) }
    : { width, height, channels: 4, data: rgba };
}

function isOpaque(rgba: Uint8Array): boolean {
  for (let i = 3; i < rgba.length; i += 4) if (rgba[i] !== 255) return false;
  return true;
}

function withoutAlpha(rgba: Uint8Array): Uint8Array {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let from = 0, to = 0; from < rgba.length; from += 4, to += 3) {
    rgb[to] = rgba[from]!;
    rgb[to + 1] = rgba[from + 1]!;
    rgb[to + 2] = rgba[from + 2]!;
  }
  return rgb;
}
