/** Decoded pictures, and the two changes of shape that are made to them in memory: enlarging and cutting. */
import { resampler, type Window } from "./resample.ts";

/** Red, green and blue in 0 .. 255. */
export type Rgb = readonly [number, number, number];

/** Decoded pixels: uint8 [row, column, channel], sRGB, not premultiplied; channel is 3, or 4 where the picture has alpha. */
export interface Pixels {
  readonly width: number;
  readonly height: number;
  readonly channels: 3 | 4;
  readonly data: Uint8Array;
}

/** Resizes bicubically to any size, transparency included: what is clear lends no colour to its neighbours. */
export function resizePixels(pixels: Pixels, width: number, height: number): Pixels {
  const whole = { left: 0, top: 0, width: pixels.width, height: pixels.height };
  const resize = resampler(pixels.width, whole, width, height);
  const alpha = pixels.channels === 4 ? resize(plane(pixels, 3)) : undefined;
  const data = new Uint8Array(width * height * pixels.channels);
  for (let channel = 0; channel < 3; channel += 1) {
    const values = resize(plane(pixels, channel));
    for (let i = 0; i < values.length; i += 1) {
      const share = alpha ? alpha[i]! / 255 : 1;
      data[i * pixels.channels + channel] = share === 0 ? 0 : Math.min(255, Math.round(values[i]! / share));
    }
  }
  alpha?.forEach((value, i) => {
    data[i * 4 + 3] = Math.round(value);
  });
  return { width, height, channels: pixels.channels, data };
}

/** Cuts a window out, which must lie inside. */
export function cutPixels({ width, channels, data }: Pixels, window: Window): Pixels {
  const cut = new Uint8Array(window.width * window.height * channels);
  for (let row = 0; row < window.height; row += 1) {
    const start = ((window.top + row) * width + window.left) * channels;
    cut.set(data.subarray(start, start + window.width * channels), row * window.width * channels);
  }
  return { width: window.width, height: window.height, channels, data: cut };
}

/** One channel as floats [row, column] in 0 .. 255; a colour is premultiplied by alpha where there is alpha. */
function plane({ width, height, channels, data }: Pixels, channel: number): Float32Array {
  return Float32Array.from({ length: width * height }, (_, i) => {
    const value = data[i * channels + channel]!;
    return channels === 4 && channel < 3 ? (value * data[i * channels + 3]!) / 255 : value;
  });
}
