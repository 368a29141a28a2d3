/** Pictures in Node: decoded by sharp. */
import type { HostTensor } from "../compiler/index.ts";
import { geometryOf, type PictureOptions, pictureTensor } from "./picture.ts";
import { type Source, wholeOf } from "./sources.ts";

/** A picture file larger than this is none. */
const mostBytes = 2 ** 30;

/**
 * A picture (png, jpg, webp or svg) as a model's input `pixels`: f32 [batch = 1, channel, row, column], cut, resized and
 * normalized as the model says, to the bit as Pillow and torchvision do. Throws FileError for what is missing or broken.
 */
export async function picture(source: Source, options: PictureOptions): Promise<HostTensor> {
  const { decodeImage } = await import("../data/index.ts"); // brings sharp: a program without pictures does without
  const geometry = geometryOf(options);
  const input = typeof source === "string" ? source : { name: "the picture", bytes: await wholeOf(source, mostBytes) };
  return pictureTensor(await decodeImage(input, geometry), options);
}
