/** Images in Node: decoded by sharp. */
import type { HostTensor } from "../compiler/index.ts";
import { geometryOf, type PictureOptions, pictureTensor } from "./picture.ts";
import { type Source, wholeOf } from "./sources.ts";

/** An image file larger than this is rejected. */
const mostBytes = 2 ** 30;

/**
 * An image (png, jpg, webp or svg) as a model's input `pixels`: f32 [batch = 1, channel, row, column], cropped, resized
 * and normalized as the model requires, bit-identical to Pillow and torchvision. Throws FileError for a missing or
 * broken file.
 */
export async function picture(source: Source, options: PictureOptions): Promise<HostTensor> {
  const { decodeImage } = await import("../data/index.ts"); // loads sharp, which programs without images do not need
  const geometry = geometryOf(options);
  const input = typeof source === "string" ? source : { name: "(in memory)", bytes: await wholeOf(source, mostBytes) };
  return pictureTensor(await decodeImage(input, geometry), options);
}
