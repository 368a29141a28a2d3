import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, describe, expect, test } from "vitest";
import { pixelsFrom } from "../../cli/commands/run/pictures.ts";
import { checkpointPreprocessing } from "../../cli/preprocessor-config.ts";
import { seenBy } from "../../cli/stages/images.ts";
import { centred } from "../../data/images.ts";
import { imagenetPreprocessing, type Model, type Recipe } from "../../dsl/index.ts";
import { scratch } from "./support.ts";

const folder = scratch("preprocessor");
afterAll(() => folder.remove());

async function geometry(json: object, size = 224) {
  writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(json));
  return (await checkpointPreprocessing(folder.at(), size))!.geometry;
}

describe("a preprocessor_config.json", () => {
  test.each([
    [
      "ConvNeXT's part of the short side",
      { size: { shortest_edge: 224 }, crop_pct: 0.875 },
      { fit: "crop", short: 256 },
    ],
    ["the same as older files have it", { size: 224, crop_pct: 0.875 }, { fit: "crop", short: 256 }],
    ["ConvNeXT's large pictures", { size: { shortest_edge: 384 }, crop_pct: 1 }, { fit: "squash" }],
    [
      "DeiT's, which stretches before it cuts",
      { size: { height: 256, width: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", short: 256, stretched: true },
    ],
    [
      "DINOv2's",
      { size: { shortest_edge: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", short: 256 },
    ],
  ])("is obeyed: %s", async (_, json, want) => {
    expect(await geometry({ ...json, resample: 2 })).toEqual({ ...want, centre: "lower", interpolation: "bilinear" });
  });

  test.each<readonly [object, RegExp]>([
    [{ size: 224, crop_pct: 1.5 }, /"crop_pct" is 1.5, but must be a number above 0/],
    [{ size: 224, crop_pct: 0.9, do_center_crop: true }, /"do_center_crop" is true, but crop_pct already crops/],
    [{ size: { height: 224, width: 224 }, crop_pct: 0.9 }, /"size" is .*a number or a shortest_edge/],
    [{ do_resize: false }, /"do_resize" is false/],
    [{ size: { shortest_edge: 224 }, do_center_crop: false }, /"do_center_crop" is false, but images must become/],
    [{ size: { height: 224, width: 192 } }, /"size" is .*an equal height and width/],
    [{ size: { shortest_edge: 3136, longest_edge: 12845056 } }, /"size" is .*but longest_edge is not supported/],
    ...[0, 4, 5].map(
      (resample) => [{ size: 224, resample }, new RegExp(`"resample" is ${resample}, but must be one of`)] as const,
    ),
    [{ size: 224, rescale_factor: 0 }, /"rescale_factor" is 0, but must be a number above 0/],
    [{ size: 224, image_mean: [0.5] }, /"image_mean" is \[0.5\], but must be a number or a list of three/],
    [{ size: 224, image_std: [1, 1, 0] }, /"image_std" is \[1,1,0\], but must be above 0/],
    [
      { size: 224, do_pad: true, pad_size: { height: 300, width: 300 } },
      /"pad_size" is .*padding to a size is not supported/,
    ],
    [{ size: 224, do_flip_channel_order: true }, /"do_flip_channel_order" is true, which is not supported/],
    [{ size: 224, image_grid_pinpoints: [[336, 672]] }, /"image_grid_pinpoints" is .*which is not supported/],
    [
      { image_processor_type: "LevitImageProcessor" },
      /"image_processor_type" is "LevitImageProcessor", whose resizing is not supported/,
    ],
  ])("is refused by the field that nothing here does: %j", async (json, message) => {
    await expect(geometry(json)).rejects.toThrow(message);
  });
});

interface Reference {
  /** A PNG file. */
  readonly picture: string;
  /** Files, and the pixels that transformers makes with them: f32 [3, 12, 12] in base64. */
  readonly cases: Readonly<Record<string, { readonly config: object; readonly pixels: string }>>;
}

describe("pixels of a preprocessor_config.json are those of transformers", () => {
  const path = new URL("../fixtures/preprocessing.json", import.meta.url);
  const { picture, cases } = JSON.parse(readFileSync(path, "utf8")) as Reference;
  const source = { name: "picture.png", bytes: Buffer.from(picture, "base64") };

  test.each(Object.entries(cases))("%s", async (_, { config, pixels }) => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(config));
    const { mean, std, geometry, unknown } = (await checkpointPreprocessing(folder.at(), 12))!;
    const made = await pixelsFrom(source, { geometry: { size: 12, ...geometry }, normalization: { mean, std } });
    const want = new Float32Array(Uint8Array.from(Buffer.from(pixels, "base64")).buffer);
    const scale = Math.max(1, ...want.map(Math.abs)); // values of 0 to 255 have fewer decimals
    expect(made.data).toHaveLength(want.length);
    expect(Math.max(...want.map((value, i) => Math.abs(value - made.data[i]!))) / scale).toBeLessThan(1e-5);
    expect(unknown).toEqual([]);
  });
});

test("a centre between two pixels is torchvision's or transformers'", () => {
  const sides = { width: 343, height: 227 };
  expect(centred(sides, 224)).toMatchObject({ left: 60, top: 2 });
  expect(centred(sides, 224, "lower")).toMatchObject({ left: 59, top: 1 });
});

describe("a stage that starts from weights with such a file", () => {
  const image = { size: 224, fit: "crop", augmentation: { flip: 0.5 } } as const;
  const seen = (fit: object, kind: "labels" | "masks", json: object) => {
    const model = {
      name: "mine",
      preprocessing: { ...imagenetPreprocessing, margin: 256 / 224, ...fit },
    } as unknown as Model;
    const recipe = { data: { kind, image } } as unknown as Recipe;
    const { recipe: made, report } = seenBy(model, recipe, json === none ? "" : JSON.stringify(json));
    return { image: made.data!.image, line: report.join() };
  };
  const none = {};
  const squashed = { image_processor_type: "ViTImageProcessor", image_std: 0.25 };
  const file = { normalization: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] }, interpolation: "bilinear" };

  test("preprocesses images as it says", () => {
    const { image: made, line } = seen({ fit: "crop" }, "labels", squashed);
    expect(made).toEqual({ ...image, ...file, fit: "squash", centre: "lower", short: 256 });
    expect(line).toBe(
      "images: 224 × 224, squash, bilinear, mean 0.5 0.5 0.5, std 0.25 0.25 0.25 (preprocessor_config.json beside the initial weights)",
    );
  });

  test("keeps a fit of its own, and says so, and the shape of images with masks", () => {
    const { image: made, line } = seen({ fit: { classify: "squash" } }, "labels", squashed);
    expect(made).toEqual({ ...image, ...file, short: 256 });
    expect(line).toContain("crop is the stage's, the file's is squash");
    expect(seen({}, "masks", squashed).image).toEqual({ ...image, ...file });
  });

  test("has the record's preprocessing without a file", () => {
    const { mean, std } = imagenetPreprocessing;
    const { image: made, line } = seen({}, "labels", none);
    expect(made).toEqual({ ...image, normalization: { mean, std }, short: 256 });
    expect(line).toContain("crop from 256, bicubic, mean 0.485 0.456 0.406, std 0.229 0.224 0.225 (from mine)");
  });
});

test("names what it does not know, so that a command can say so", async () => {
  const file = { image_processor_type: "MyImageProcessorFast", size: 224, sharpen: 2, do_sharpen: false, num: null };
  writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(file));
  expect((await checkpointPreprocessing(folder.at(), 224))!.unknown).toEqual(["MyImageProcessorFast", "sharpen"]);
});
