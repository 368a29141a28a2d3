/** Converts pixels to planes. */

/** Pixels as planes [channel, row, column] in [0, 1], over white where transparent. */
export function planesOf({ data, width, height }: ImageData): Float32Array {
  const planes = new Float32Array(3 * width * height);
  for (let i = 0; i < width * height; i++) {
    const alpha = data[4 * i + 3]! / 255;
    for (let c = 0; c < 3; c++) planes[c * width * height + i] = (data[4 * i + c]! / 255) * alpha + 1 - alpha;
  }
  return planes;
}
