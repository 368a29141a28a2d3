/**
 * Pictures at sizes that are not square, as torchvision, timm and Pillow make them: scripts/reference/image_sizes.py.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { scaledSize, UsageError } from "../../compiler/index.ts";
import { coveringSides, decodeWindow } from "../../data/images.ts";
import { decodeImage, type Geometry, imageTensor, type Pixels, wholeView } from "../../data/index.ts";

interface Fixture {
  readonly digests: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly windows: readonly (readonly [number, number, number, number, number, number, string])[];
}
const fixture = (name: string) =>
  JSON.parse(readFileSync(new URL(`../fixtures/${name}.json`, import.meta.url), "utf8"));
const { digests, windows }: Fixture = fixture("image-sizes");
const { files }: { readonly files: Readonly<Record<string, string>> } = fixture("pictures");
const digest = (x: Pixels) => createHash("sha256").update(x.data).digest("hex").slice(0, 16);
const bytesOf = (name: string) => ({ name, bytes: Buffer.from(files[name]!, "base64") });

/** "short" is a crop after the short side became 12 pixels. */
const geometryOf = (fit: string): Omit<Geometry, "size"> =>
  fit === "short" ? { fit: "crop", cover: 12 } : { fit: fit as Geometry["fit"] };

describe("a picture of a height and a width", () => {
  it.each(Object.entries(digests))("is that of Python: %s", async (name, cases) => {
    const wrong: string[] = [];
    for (const [key, wanted] of Object.entries(cases)) {
      const [fit, rows, columns, how] = key.split(" ");
      const size = [Number(rows), Number(columns)] as const;
      const interpolation = how as NonNullable<Geometry["interpolation"]>;
      const made = await decodeImage(bytesOf(name), { size, interpolation, keepsAlpha: true, ...geometryOf(fit!) });
      if (digest(made) !== wanted || made.height !== size[0]) wrong.push(key);
    }
    expect(wrong).toEqual([]);
  });

  it.each(windows)("is a window of another aspect ratio, resized: %i %i %i %i to %i %i", async (...window) => {
    const [left, top, width, height, rows, columns, wanted] = window;
    const made = await decodeWindow(bytesOf("rgb"), { size: [rows, columns] }, () => ({ left, top, width, height }));
    expect(digest(made)).toBe(wanted);
  });

  it("is the same for a number and a pair", async () => {
    for (const fit of ["crop", "squash", "pad"] as const) {
      const [one, two] = await Promise.all(
        ([9, [9, 9]] as const).map((size) =>
          decodeImage(bytesOf("rgb"), { size, fit, cover: scaledSize(size, 8 / 7) }),
        ),
      );
      expect(one).toEqual(two);
    }
  });

  it.each([[0], [[4]], [[4, 0]], [[4, 5, 6]], [1.5], [[4, 0.5]]])("is refused: %j", async (size) => {
    const made = decodeImage(bytesOf("rgb"), { size: size as unknown as [number, number], fit: "crop" });
    await expect(made).rejects.toThrow(UsageError);
    await expect(made).rejects.toThrow(`or two, [height, width]; got ${JSON.stringify(size)}`);
  });

  it("covers a size in proportion", () => {
    expect(coveringSides({ width: 720, height: 480 }, [384, 128])).toEqual({ width: 576, height: 384 });
    expect(coveringSides({ width: 100, height: 900 }, [384, 128])).toEqual({ width: 128, height: 1152 });
  });

  it("is a tensor of rows and columns, mirrored along columns", () => {
    const pixels: Pixels = { width: 3, height: 2, channels: 3, data: Uint8Array.from({ length: 18 }, (_, i) => i) };
    const normalization = { mean: [0, 0, 0], std: [1 / 255, 1 / 255, 1 / 255] } as const;
    const views = [{ ...wholeView(pixels), flip: true }];
    const { axes, data } = imageTensor([pixels], { size: [2, 3], normalization, views });
    expect(axes.map(({ name, size }) => `${name}=${size}`).join()).toBe("batch=1,channel=3,row=2,column=3");
    expect(Array.from(data.subarray(0, 6), Math.round)).toEqual([6, 3, 0, 15, 12, 9]);
  });
});
