import fc from "fast-check";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../compiler/index.ts";
import { decodeImage, imageTensor, type Pixels, randomView, seededRandom, white, wholeView } from "../../data/index.ts";

const identity = { mean: [0, 0, 0], std: [1, 1, 1] } as const; // leaves pixels in [0, 1]

/** Smooth and noisy parts, so that a resize that is off by half a pixel shows. */
function pattern(width: number, height: number, channels: 3 | 4 = 3): Pixels {
  const data = Uint8Array.from({ length: width * height * channels }, (_, i) => {
    const [x, y, c] = [Math.floor(i / channels) % width, Math.floor(i / channels / width), i % channels];
    return Math.round(127 + 100 * Math.sin(x / (3 + c)) * Math.cos(y / 4)) + ((x * 31 + y * 17) % 20);
  });
  return { width, height, channels, data };
}

describe("imageTensor", () => {
  it("has axes [batch, channel, row, column] and ImageNet statistics", () => {
    const gray: Pixels = { width: 2, height: 2, channels: 3, data: new Uint8Array(12).fill(51) };
    const tensor = imageTensor([gray, gray], { size: 2 });
    expect(tensor.axes.map(({ name, size }) => [name, size])).toEqual([
      ["batch", 2],
      ["channel", 3],
      ["row", 2],
      ["column", 2],
    ]);
    const expected = [(0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225];
    for (const [channel, value] of expected.entries()) expect(tensor.data[12 + channel * 4]).toBeCloseTo(value, 5);
  });

  it("shows the background through what is transparent", () => {
    const data = Uint8Array.from([200, 0, 0, 255, 200, 0, 0, 0, 200, 0, 0, 51, 0, 0, 0, 0]);
    const clear: Pixels = { width: 2, height: 2, channels: 4, data };
    const views = [wholeView(clear, [0, 100, 255])];
    const { data: out } = imageTensor([clear], { size: 2, views, normalization: identity });
    const levels = Array.from(out, (v) => Math.round(v * 255));
    expect(levels).toEqual([200, 0, 40, 0, 0, 100, 80, 100, 0, 255, 204, 255]);
  });

  it("mirrors, and refuses views that do not fit", () => {
    const pixels = pattern(5, 5);
    const straight = imageTensor([pixels], { size: 5 }).data;
    const mirrored = imageTensor([pixels], { size: 5, views: [{ ...wholeView(pixels), flip: true }] }).data;
    for (let row = 0; row < 15; row += 1) {
      const line = Array.from(straight.subarray(row * 5, row * 5 + 5));
      expect(Array.from(mirrored.subarray(row * 5, row * 5 + 5))).toEqual(line.reverse());
    }
    expect(() => imageTensor([pixels], { size: 5, views: [] })).toThrow(UsageError);
  });

  it("shrinks windows as sharp shrinks files", async () => {
    for (const [width, height, size] of [
      [40, 40, 24],
      [64, 36, 30],
      [65, 33, 17],
    ] as const) {
      const pixels = pattern(width, height);
      const window = { left: 2, top: 1, width: width - 5, height: height - 3 };
      const views = [{ window, flip: false, background: white }];
      const ours = imageTensor([pixels], { size, views, normalization: identity });
      const theirs = await sharp(pixels.data, { raw: { width, height, channels: 3 } })
        .extract(window)
        .resize(size, size, { fit: "fill", kernel: "cubic" })
        .raw()
        .toBuffer();
      let worst = 0;
      for (let i = 0; i < theirs.length; i += 1) {
        const plane = (i % 3) * size * size + Math.floor(i / 3);
        worst = Math.max(worst, Math.abs(ours.data[plane]! * 255 - theirs[i]!));
      }
      // libvips quantizes weights and the pass between to 8 bits; half a pixel of shift would be tens of levels here.
      expect(worst, `${width}x${height} to ${size}`).toBeLessThan(3);
    }
  });
});

describe("randomView", () => {
  it("keeps the window inside, of the asked area and shape, whatever the picture", () => {
    const sizes = fc.record({ width: fc.integer({ min: 1, max: 90 }), height: fc.integer({ min: 1, max: 90 }) });
    fc.assert(
      fc.property(sizes, fc.nat(), ({ width, height }, seed) => {
        const pixels = { width, height, channels: 3 as const, data: new Uint8Array(0) };
        const { window } = randomView(pixels, { scale: [0.5, 1] }, seededRandom(seed));
        expect(window.width).toBeGreaterThan(0);
        expect(window.height).toBeGreaterThan(0);
        expect(window.left).toBeGreaterThanOrEqual(0);
        expect(window.top).toBeGreaterThanOrEqual(0);
        expect(window.left + window.width).toBeLessThanOrEqual(width);
        expect(window.top + window.height).toBeLessThanOrEqual(height);
      }),
    );
  });

  it("draws area, shape, flip and colour as asked", () => {
    const pixels = pattern(64, 64, 4);
    const views = Array.from({ length: 500 }, (_, i) =>
      randomView(pixels, { scale: [0.5, 1], flip: 0.5, recolour: 0.5 }, seededRandom(9, i)),
    );
    const areas = views.map(({ window }) => (window.width * window.height) / 4096);
    expect(Math.min(...areas)).toBeGreaterThan(0.47);
    expect(Math.max(...areas)).toBeLessThanOrEqual(1);
    const share = (n: number) => n / views.length;
    expect(share(views.filter(({ flip }) => flip).length)).toBeCloseTo(0.5, 1);
    expect(share(views.filter(({ background }) => background !== white).length)).toBeCloseTo(0.5, 1);
  });

  it("changes nothing when nothing may vary, and repeats for the same seed", () => {
    const pixels = pattern(10, 12);
    expect(randomView(pixels, {}, seededRandom(1))).toEqual(wholeView(pixels));
    const vary = { scale: [0.3, 0.9], flip: 0.5, recolour: 1 } as const;
    expect(randomView(pixels, vary, seededRandom(4, 2))).toEqual(randomView(pixels, vary, seededRandom(4, 2)));
  });

  it("agrees with the file path: a decoded file seen whole is the file", async () => {
    const pixels = pattern(16, 16);
    const png = await sharp(pixels.data, { raw: { width: 16, height: 16, channels: 3 } })
      .png()
      .toBuffer();
    const decoded = await decodeImage({ name: "pattern", bytes: png }, { size: 16, fit: "crop" });
    expect(Array.from(decoded.data)).toEqual(Array.from(pixels.data));
  });
});
