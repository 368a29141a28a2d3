/** Pictures as Pillow, torchvision and transformers make them, to the bit: scripts/reference/pictures.py. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  centred,
  coveringSides,
  decodeImage,
  decodeResized,
  decodeTiles,
  decodeWindow,
  type Geometry,
} from "../../data/images.ts";
import { overWhite, type Pixels, placedPixels, resizePixels } from "../../data/pixels.ts";
import { seeded } from "../support/samples.ts";

interface Fixture {
  readonly files: Readonly<Record<string, string>>;
  readonly digests: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly overWhite: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly composited: string;
  readonly sides: readonly (readonly number[])[];
}
const fixture: Fixture = JSON.parse(readFileSync(new URL("../fixtures/pictures.json", import.meta.url), "utf8"));
const digest = (x: Pixels) => createHash("sha256").update(x.data).digest("hex").slice(0, 16);
const bytesOf = (name: string) => ({ name, bytes: Buffer.from(fixture.files[name]!, "base64") });

describe("a picture becomes what Pillow makes of it", () => {
  it.each(Object.entries(fixture.digests))("%s", async (name, digests) => {
    expect(await differing(name, digests, { keepsAlpha: true })).toEqual([]);
  });
});

describe("a transparent picture becomes what transformers makes of it", () => {
  it.each(Object.entries(fixture.overWhite))("%s", async (name, digests) => {
    expect(await differing(name, digests, {})).toEqual([]);
  });

  it("for every colour and alpha", () => {
    const data = Uint8Array.from({ length: 4 * 65_536 }, (_, i) => (i % 4 === 3 ? i >> 2 : i >> 10) & 255);
    expect(digest(overWhite({ width: 256, height: 256, channels: 4, data }))).toBe(fixture.composited);
  });

  it("in a window and in tiles too", async () => {
    const source = bytesOf("alpha");
    const whole = await decodeImage(source, { size: 8, fit: "squash" });
    const window = await decodeWindow(source, { size: 8 }, ({ width, height }) => ({ left: 0, top: 0, width, height }));
    const [tile] = await decodeTiles(source, { size: 8, least: 1, most: 1, thumbnail: false });
    const resized = await decodeResized(source, () => ({ width: 8, height: 8 }));
    expect([window, tile, resized]).toEqual([whole, whole, whole]);
    expect(whole.channels).toBe(3);
  });
});

/** The sizes, fits and kernels at which a picture has other bytes than Pillow's. */
async function differing(name: string, digests: Readonly<Record<string, string>>, options: Partial<Geometry>) {
  const wrong: string[] = [];
  for (const [key, wanted] of Object.entries(digests)) {
    const [fit, size, interpolation] = key.split(" ") as [
      Geometry["fit"],
      string,
      NonNullable<Geometry["interpolation"]>,
    ];
    const pixels = await decodeImage(bytesOf(name), { size: Number(size), fit, interpolation, ...options });
    if (digest(pixels) !== wanted) wrong.push(key);
  }
  return wrong;
}

describe("the sides of a picture", () => {
  it("are rounded as torchvision's Resize and CenterCrop round them", () => {
    for (const [width, height, size, toWidth, toHeight, left, top] of fixture.sides) {
      const sides = coveringSides({ width: width!, height: height! }, size!);
      expect([width, height, size, sides.width, sides.height]).toEqual([width, height, size, toWidth, toHeight]);
      expect(centred(sides, { width: size!, height: size! })).toEqual({ left, top, width: size, height: size });
    }
    expect(coveringSides({ width: 720, height: 480 }, 336)).toEqual({ width: 504, height: 336 });
  });
});

describe("resizing", () => {
  const random = seeded(5);
  const any = (width: number, height: number, channels: 3 | 4): Pixels => ({
    width,
    height,
    channels,
    data: Uint8Array.from({ length: width * height * channels }, () => Math.floor(128 + 127 * random())),
  });

  it("to a window is the window of the whole", () => {
    for (const [width, height, channels] of [
      [40, 30, 3],
      [7, 50, 4],
      [31, 31, 3],
    ] as const) {
      const picture = any(width, height, channels);
      for (const [toWidth, toHeight] of [
        [12, 19],
        [40, 30],
        [90, 31],
        [7, 60],
      ] as const) {
        const whole = resizePixels(picture, { width: toWidth, height: toHeight });
        const window = { left: 3, top: 5, width: 4, height: 9 };
        const part = resizePixels(picture, { width: toWidth, height: toHeight, window });
        const rows = Array.from({ length: 9 }, (_, row) => {
          const start = ((5 + row) * toWidth + 3) * channels;
          return [...whole.data.subarray(start, start + 4 * channels)];
        });
        expect([...part.data]).toEqual(rows.flat());
      }
    }
  });

  it("leaves a picture of the size wanted as it is, transparency included", () => {
    const picture = any(6, 5, 4);
    expect(resizePixels(picture, { width: 6, height: 5 })).toEqual(picture);
  });

  it("of a window of a file is that of its pixels", async () => {
    const source = bytesOf("rgb");
    const whole = await decodeWindow(source, { size: 24 }, ({ width, height }) => ({ left: 0, top: 0, width, height }));
    expect(whole).toEqual(await decodeImage(source, { size: 24, fit: "squash" }));
    const cut = await decodeWindow(source, { size: 20 }, () => ({ left: 7, top: 3, width: 20, height: 20 }));
    const { data } = await decodeWindow(source, { size: 40 }, () => ({ left: 5, top: 0, width: 40, height: 40 }));
    expect([...cut.data.subarray(0, 60)]).toEqual([...data.subarray((3 * 40 + 2) * 3, (3 * 40 + 22) * 3)]);
  });
});

describe("padding", () => {
  it("is of the mean's colour, for gray pictures too", async () => {
    const { data } = await decodeImage(bytesOf("gray"), { size: 44, fit: "pad" });
    expect([...data.subarray(0, 3)]).toEqual([123, 116, 103]);
  });

  it("surrounds an image by a colour", () => {
    const one: Pixels = { width: 1, height: 2, channels: 3, data: Uint8Array.of(1, 2, 3, 4, 5, 6) };
    expect([...placedPixels(one, { width: 2, height: 2, left: 0, top: 0 }, [7, 8, 9]).data]).toEqual([
      1, 2, 3, 7, 8, 9, 4, 5, 6, 7, 8, 9,
    ]);
  });
});
