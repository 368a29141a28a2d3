import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { decodeImage, imageDataUri, imageStore } from "../../data/index.ts";
import { emojiSet } from "../../examples/emoji/set.ts";
import { picture, skips, temporaryFolder } from "./support.ts";

const red = { r: 250, g: 10, b: 20 };
const source = (bytes: Uint8Array, name = "test.png") => ({ name, bytes });

describe("decodeImage", () => {
  it("reads png, jpg, webp and svg to the same pixels", async () => {
    const svg = Buffer.from(
      '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="8" height="8" fill="rgb(250,10,20)"/></svg>',
    );
    const files = [
      ...(await Promise.all((["png", "jpeg", "webp"] as const).map((format) => picture(red, { format })))),
      svg,
    ];
    for (const bytes of files) {
      const pixels = await decodeImage(source(bytes), { size: 4, fit: "squash" });
      expect([pixels.width, pixels.height]).toEqual([4, 4]);
      for (const [i, level] of [250, 10, 20].entries())
        expect(Math.abs(pixels.data[i]! - level)).toBeLessThanOrEqual(3);
    }
  });

  it("composites transparency over white or keeps it, and turns gray, palette and 16-bit pictures to 8-bit RGB", async () => {
    const halfRed = source(await picture({ ...red, alpha: 0.5 }));
    const seen = await decodeImage(halfRed, { size: 8, fit: "squash" });
    expect([seen.channels, ...seen.data.subarray(0, 3)]).toEqual([3, 252, 132, 137]);
    const clear = await decodeImage(halfRed, { size: 8, fit: "squash", keepsAlpha: true });
    expect([clear.channels, clear.data[3]]).toEqual([4, 128]);
    const plain = sharp({ create: { width: 8, height: 8, channels: 3, background: "#808080" } });
    const variants = [
      plain.clone().greyscale().png(),
      plain.clone().png({ palette: true }),
      plain.clone().toColourspace("rgb16").png(),
    ];
    for (const variant of variants) {
      const pixels = await decodeImage(source(await variant.toBuffer()), { size: 8, fit: "squash" });
      expect([pixels.channels, ...pixels.data.subarray(0, 3)]).toEqual([3, 128, 128, 128]);
    }
  });

  it("squashes, crops the centre, or pads to a square", async () => {
    // Left half red, right half blue, twice as wide as high.
    const right = { input: await picture({ r: 0, g: 0, b: 255 }, { width: 16, height: 16 }), left: 16, top: 0 };
    const wide = await sharp(await picture(red, { width: 32, height: 16 }))
      .composite([right])
      .removeAlpha()
      .png()
      .toBuffer();
    const at = async (fit: "squash" | "crop" | "pad", row: number, column: number) => {
      const { data, channels } = await decodeImage(source(wide), { size: 16, fit });
      return [...data.subarray((row * 16 + column) * channels, (row * 16 + column) * channels + 3)];
    };
    expect(await at("squash", 0, 0)).toEqual([250, 10, 20]);
    expect(await at("squash", 15, 15)).toEqual([0, 0, 255]);
    expect(await at("crop", 8, 5)).toEqual([250, 10, 20]);
    expect(await at("crop", 8, 10)).toEqual([0, 0, 255]);
    expect(await at("pad", 0, 0)).toEqual([123, 116, 103]);
    expect(await at("pad", 15, 15)).toEqual([123, 116, 103]);
    expect(await at("pad", 8, 0)).toEqual([250, 10, 20]);
  });

  it("draws an svg at the size wanted instead of enlarging its pixels", async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><rect width="3" height="8"/></svg>';
    const { data, channels } = await decodeImage(source(Buffer.from(svg)), {
      size: 64,
      fit: "squash",
      keepsAlpha: true,
    });
    const alpha = (column: number) => data[(32 * 64 + column) * channels + 3];
    expect([alpha(20), alpha(22), alpha(25), alpha(28)]).toEqual([255, 255, 0, 0]); // the edge at column 24 is sharp
  });

  it("enlarges without shift: a ramp stays a ramp", async () => {
    const ramp = Uint8Array.from({ length: 16 * 16 * 4 }, (_, i) =>
      i % 4 === 3 ? 255 : 40 + 10 * (Math.floor(i / 4) % 16),
    );
    const png = await sharp(ramp, { raw: { width: 16, height: 16, channels: 4 } })
      .png()
      .toBuffer();
    for (const size of [17, 40, 64]) {
      const { data, channels } = await decodeImage(source(png), { size, fit: "squash" });
      for (let column = 0; column < size; column += 1) {
        const centre = ((column + 0.5) * 16) / size - 0.5; // where this pixel's centre lies in the source
        if (centre < 2 || centre > 13) continue; // the border is extended by its own rule
        expect(Math.abs(data[(5 * size + column) * channels]! - (40 + 10 * centre))).toBeLessThanOrEqual(0.51);
      }
    }
  });

  it("turns a photograph upright by its EXIF tag", async () => {
    const top = { input: await picture({ r: 0, g: 255, b: 0 }, { width: 8, height: 4 }), left: 0, top: 0 };
    const sideways = await sharp(await picture(red))
      .composite([top])
      .withMetadata({ orientation: 6 })
      .png()
      .toBuffer();
    const { data, channels } = await decodeImage(source(sideways), { size: 8, fit: "squash" });
    expect([data[1], data[7 * channels + 1]]).toEqual([10, 255]); // green turned from the top to the right
  });

  it("names the file in every error", async () => {
    const folder = temporaryFolder();
    const noise = sharp(Buffer.from(Array.from({ length: 64 * 64 * 3 }, (_, i) => (i * 7919) % 251)), {
      raw: { width: 64, height: 64, channels: 3 },
    });
    const whole = { png: await noise.clone().png().toBuffer(), jpg: await noise.clone().jpeg().toBuffer() };
    const broken: Record<string, Buffer> = {
      "truncated.png": whole.png.subarray(0, whole.png.length >> 1),
      "truncated.jpg": whole.jpg.subarray(0, whole.jpg.length >> 1),
      "header-only.png": whole.png.subarray(0, 40),
      "text.png": Buffer.from("this is no picture"),
      "empty.webp": Buffer.alloc(0),
      "other.gif": await noise.clone().gif().toBuffer(),
      "bomb.png": bombHeader(),
    };
    for (const [name, bytes] of Object.entries(broken)) {
      await writeFile(join(folder, name), bytes);
      for (const input of [join(folder, name), source(bytes, name)]) {
        for (const fit of ["squash", "pad"] as const) {
          const error = await decodeImage(input, { size: 8, fit }).catch((e: unknown) => e);
          expect(error, name).toBeInstanceOf(FileError);
          expect((error as Error).message).toContain(name);
          expect((error as Error).message).not.toContain("\n");
        }
      }
    }
    const thin = source(await picture(red, { width: 1, height: 9000 }), "thin.png");
    for (const fit of ["pad", "crop"] as const) {
      await expect(decodeImage(thin, { size: 64, fit })).rejects.toThrow(/"thin.png" .* too long and narrow/);
    }
    const long = source(await picture(red, { width: 1_048_578, height: 1 }), "long.png");
    for (const fit of ["pad", "crop", "squash"] as const) {
      await expect(decodeImage(long, { size: 1, fit })).rejects.toThrow(
        /"long.png" .* each side can have at most 1000000/,
      );
    }
    const missing = decodeImage(join(folder, "missing.png"), { size: 8, fit: "crop" });
    await expect(missing).rejects.toThrow(/missing\.png" cannot be read/);
    await expect(decodeImage(folder, { size: 8, fit: "crop" })).rejects.toThrow(/it is not a regular file/);
    if (process.platform !== "win32") {
      await expect(decodeImage("/dev/zero", { size: 8, fit: "crop" })).rejects.toThrow(/it is not a regular file/);
    }
    await expect(decodeImage("x.png", { size: 0, fit: "crop" })).rejects.toThrow(UsageError);
  });

  /** A valid PNG header that promises 100000 x 100000 pixels, with hardly any data behind it. */
  function bombHeader(): Buffer {
    const header = Buffer.alloc(33);
    Buffer.from("89504e470d0a1a0a0000000d49484452", "hex").copy(header);
    header.writeUInt32BE(100_000, 16);
    header.writeUInt32BE(100_000, 20);
    header.set([8, 2, 0, 0, 0], 24);
    return header;
  }
});

describe("imageStore", () => {
  it("decodes a file once, and only up to its limit", async () => {
    const folder = temporaryFolder();
    const files = ["a", "b", "c"].map((name) => join(folder, `${name}.png`));
    for (const file of files) await writeFile(file, await picture(red));
    const store = imageStore({ size: 4, fit: "squash" }, 2 * 4 * 4 * 3);
    const { list, onSkip } = skips();
    const progress: number[] = [];
    const readable = await store.preload([...files, join(folder, "d.png")], {
      onSkip,
      onProgress: (n) => progress.push(n),
    });
    expect([...readable].sort()).toEqual(files);
    expect(progress).toEqual([1, 2, 3, 4]);
    expect(list.map(({ name }) => name)).toEqual([join(folder, "d.png")]);
    expect(store.bytes).toBe(2 * 4 * 4 * 3);
    for (const file of files) await writeFile(file, "no longer a picture");
    const now = await Promise.all(
      files.map((file) =>
        store.read(file).then(
          () => "held",
          () => "broken",
        ),
      ),
    );
    expect(now.sort()).toEqual(["broken", "held", "held"]);
  });
});

describe("imageDataUri", () => {
  it("embeds a real picture as a small PNG", async () => {
    const { emoji } = await emojiSet({ languages: ["en"] });
    const uri = await imageDataUri(emoji[0]!.images.fluent, 32);
    expect(uri).toMatch(/^data:image\/png;base64,/);
    const decoded = await sharp(Buffer.from(uri.split(",")[1]!, "base64")).metadata();
    expect([decoded.width, decoded.height]).toEqual([32, 32]);
    await expect(imageDataUri("missing.png", 32)).rejects.toThrow(FileError);
    expect((await readFile(emoji[0]!.images.fluent)).length).toBeGreaterThan(0);
  });
});
