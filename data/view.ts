/** Pixels to model input: background, crop, flip, normalization. Training and evaluation share this path. */
import { type HostTensor, hostTensor, type ImageSize, type Sides, sidesOf, UsageError } from "../compiler/index.ts";
import type { Pixels, Rgb } from "./pixels.ts";
import type { Random } from "./random.ts";
import { resampler, type Window } from "./resample.ts";

/** Per-channel statistics of pixels in [0, 1]: the model input is (pixel - mean) / std. */
export interface Normalization {
  /** Of red, green and blue, whatever the order of the input's channels. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** The order of the input's channels; default "rgb". */
  readonly channelOrder?: "rgb" | "bgr";
}

/** The ImageNet statistics; InternVL uses these, not CLIP's. */
export const imagenet: Normalization = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

/** White, the background that transparent artwork is usually drawn for. */
export const white: Rgb = [255, 255, 255];

/** How an image is viewed: the window in pixels, whether it is mirrored, and the colour behind transparency. */
export interface View {
  readonly window: Window;
  readonly flip: boolean;
  readonly background: Rgb;
}

/** Random augmentation of views; omitted fields are not varied. */
export interface Augmentation {
  /** Fraction of the area that the window covers, drawn uniformly from [least, most] in (0, 1]. */
  readonly scale?: readonly [number, number];
  /** Width over height of the window, drawn log-uniformly; default [3/4, 4/3]. */
  readonly ratio?: readonly [number, number];
  /** Probability of a mirrored view, in [0, 1]. */
  readonly flip?: number;
  /** Probability of a uniformly random background colour instead of the plain one, in [0, 1]. */
  readonly recolour?: number;
}

/** The whole image over one colour. */
export const wholeView = (pixels: Sides, background: Rgb = white): View => ({
  window: { left: 0, top: 0, width: pixels.width, height: pixels.height },
  flip: false,
  background,
});

/** Draws a view: RandomResizedCrop as in torchvision 0.20, then flip, then background. */
export function randomView(pixels: Sides, vary: Augmentation, random: Random, background: Rgb = white): View {
  const window = vary.scale
    ? randomWindow(pixels, vary.scale, vary.ratio ?? [3 / 4, 4 / 3], random)
    : wholeView(pixels).window;
  const flip = random() < (vary.flip ?? 0);
  const colour = [0, 1, 2].map(() => Math.floor(random() * 256)) as unknown as Rgb;
  return { window, flip, background: random() < (vary.recolour ?? 0) ? colour : background };
}

/**
 * A vision model's input batch: f32 [batch, channel=3, row, column], normalized.
 * Each image is shown through its view, or whole over white, resized to `size`.
 */
export function imageTensor(
  pictures: readonly Pixels[],
  options: { readonly size: ImageSize; readonly views?: readonly View[]; readonly normalization?: Normalization },
): HostTensor {
  const { views, normalization = imagenet } = options;
  const sides = sidesOf(options.size);
  const each = 3 * sides.width * sides.height;
  if (views && views.length !== pictures.length) {
    throw new UsageError(`expected one view per image, got ${pictures.length} images and ${views.length} views`);
  }
  const data = new Float32Array(pictures.length * each);
  for (const [i, pixels] of pictures.entries()) {
    const row = data.subarray(i * each, (i + 1) * each);
    writeView(row, pixels, views?.[i] ?? wholeView(pixels), sides, normalization);
  }
  const axes = [
    { name: "batch", size: pictures.length },
    { name: "channel", size: 3 },
    { name: "row", size: sides.height },
    { name: "column", size: sides.width },
  ];
  return hostTensor("f32", axes, data);
}

/** Flattens first, so that the bicubic kernel never mixes in colours hidden under transparency. */
function writeView(target: Float32Array, pixels: Pixels, view: View, to: Sides, normalization: Normalization): void {
  const { width, height } = to;
  const { mean, std, channelOrder } = normalization;
  const resize = resampler(pixels.width, view.window, width, height);
  for (const [channel, plane] of flatten(pixels, view.background).entries()) {
    const resized = resize(plane);
    const scale = 1 / (255 * std[channel]!);
    const shift = mean[channel]! / std[channel]!;
    const place = channelOrder === "bgr" ? 2 - channel : channel;
    const out = target.subarray(place * width * height, (place + 1) * width * height);
    for (let i = 0; i < out.length; i += 1) out[i] = resized[i]! * scale - shift;
    if (view.flip) for (let row = 0; row < height; row += 1) out.subarray(row * width, (row + 1) * width).reverse();
  }
}

/** Red, green and blue [row, column] in 0 .. 255 over the background. */
function flatten({ data, channels, width, height }: Pixels, [r, g, b]: Rgb): readonly Float32Array[] {
  const [red, green, blue] = [0, 1, 2].map(() => new Float32Array(width * height)) as [
    Float32Array,
    Float32Array,
    Float32Array,
  ];
  for (let i = 0, at = 0; i < red.length; i += 1, at += channels) {
    const alpha = channels === 4 ? data[at + 3]! / 255 : 1;
    red[i] = r + (data[at]! - r) * alpha;
    green[i] = g + (data[at + 1]! - g) * alpha;
    blue[i] = b + (data[at + 2]! - b) * alpha;
  }
  return [red, green, blue];
}

function randomWindow(
  { width, height }: Sides,
  [least, most]: readonly [number, number],
  [narrow, wide]: readonly [number, number],
  random: Random,
): Window {
  for (let attempt = 0; attempt < 10; attempt += 1) {
    const area = width * height * (least + (most - least) * random());
    const ratio = Math.exp(Math.log(narrow) + (Math.log(wide) - Math.log(narrow)) * random());
    const [w, h] = [Math.round(Math.sqrt(area * ratio)), Math.round(Math.sqrt(area / ratio))];
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = Math.floor(random() * (height - h + 1));
    const left = Math.floor(random() * (width - w + 1));
    return { left, top, width: w, height: h };
  }
  // Ten misses happen for very elongated images: falls back to the centre, at the nearest allowed aspect ratio.
  const ratio = Math.min(wide, Math.max(narrow, width / height));
  const w = Math.max(1, Math.round(Math.min(width, height * ratio)));
  const h = Math.max(1, Math.round(Math.min(height, width / ratio)));
  return { left: (width - w) >> 1, top: (height - h) >> 1, width: w, height: h };
}
