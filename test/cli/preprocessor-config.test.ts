import { copyFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { pixelsFrom } from "../../cli/commands/run/pictures.ts";
import { sourceText } from "../../cli/preprocessing-text.ts";
import { checkpointPreprocessing, preprocessorConfig } from "../../cli/preprocessor-config.ts";
import { seenBy } from "../../cli/stages/images.ts";
import { type ImageSize, scaledSize } from "../../compiler/index.ts";
import { centred, decodeImage } from "../../data/images.ts";
import { imagenetPreprocessing, type Model, pixelValues, type Recipe } from "../../dsl/index.ts";
import { heddle, scratch } from "./support.ts";

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
      { fit: "crop", cover: 256 },
    ],
    ["the same as older files have it", { size: 224, crop_pct: 0.875 }, { fit: "crop", cover: 256 }],
    ["ConvNeXT's large pictures", { size: { shortest_edge: 384 }, crop_pct: 1 }, { fit: "squash" }],
    [
      "DeiT's, which stretches before it cuts",
      { size: { height: 256, width: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", cover: 256, stretched: true },
    ],
    [
      "DINOv2's",
      { size: { shortest_edge: 256 }, do_center_crop: true, crop_size: { height: 224, width: 224 } },
      { fit: "crop", cover: 256 },
    ],
  ])("is obeyed: %s", async (_, json, want) => {
    expect(await geometry({ ...json, resample: 2 })).toEqual({ ...want, centre: "lower", interpolation: "bilinear" });
  });

  test("is also read as transformers 5 nests it, which comes first", async () => {
    const nested = scratch("nested");
    try {
      const write = (name: string, fields: object) => writeFileSync(nested.at(name), JSON.stringify(fields));
      write("preprocessor_config.json", { size: { height: 20, width: 20 }, resample: 3 });
      write("processor_config.json", { processor_class: "CLIPProcessor" });
      const read = async () => (await checkpointPreprocessing(nested.at(), 20))!;
      expect((await read()).geometry.interpolation).toBe("bicubic");
      const image_processor = {
        image_processor_type: "SiglipImageProcessor",
        resample: 2,
        image_mean: [0.1, 0.2, 0.3],
      };
      write("processor_config.json", { processor_class: "SiglipProcessor", image_processor });
      const { geometry, mean, path } = await read();
      expect([geometry.interpolation, mean, path.endsWith("/processor_config.json")]).toEqual([
        "bilinear",
        [0.1, 0.2, 0.3],
        true,
      ]);
      write("processor_config.json", { image_processor: "SiglipImageProcessor" });
      await expect(read()).rejects.toThrow(/"image_processor" is "SiglipImageProcessor"; expected an object/);
    } finally {
      nested.remove();
    }
  });

  test("that is nested is copied by convert, with no other beside it", async () => {
    const nested = scratch("converted");
    try {
      const of = fileURLToPath(new URL("../fixtures/clip", import.meta.url));
      for (const name of ["config.json", "model.safetensors"]) copyFileSync(join(of, name), nested.at(name));
      const image_processor = JSON.parse(readFileSync(join(of, "preprocessor_config.json"), "utf8"));
      writeFileSync(nested.at("processor_config.json"), JSON.stringify({ image_processor }));
      const { status, err } = await heddle("convert", nested.at(), "--out", nested.at("out"));
      expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
      expect(readdirSync(nested.at("out"))).toEqual(expect.arrayContaining(["processor_config.json"]));
      expect(readdirSync(nested.at("out"))).not.toContain("preprocessor_config.json");
    } finally {
      nested.remove();
    }
  });

  test.each<readonly [object, RegExp]>([
    [{ size: 224, crop_pct: 1.5 }, /"crop_pct" is 1.5, but must be a number above 0/],
    [{ size: 224, crop_pct: 0.9, do_center_crop: true }, /"do_center_crop" is true, but crop_pct already crops/],
    [{ size: { height: 224, width: 224 }, crop_pct: 0.9 }, /"size" is .*a number or a shortest_edge/],
    [{ do_resize: false }, /"do_resize" is false/],
    [{ size: { shortest_edge: 224 }, do_center_crop: false }, /"do_center_crop" is false, but images must get/],
    [{ size: { height: 224 } }, /"size" is .*a number, a shortest_edge, or a height and a width/],
    [{ size: [224] }, /"size" is .*a list must have a height and a width/],
    [
      { image_processor_type: "DonutImageProcessor", do_thumbnail: false },
      /"do_thumbnail" is false, but images must get the model's size/,
    ],
    [
      { image_processor_type: "DonutImageProcessor", do_align_long_axis: true },
      /"do_align_long_axis" is true, which is not supported/,
    ],
    [
      { image_processor_type: "LlavaImageProcessor", do_pad: true, crop_size: { height: 300, width: 224 } },
      /"size" is .*padded images are resized to crop_size at once/,
    ],
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
    [
      { size: 224, do_flip_channel_order: true },
      /"do_flip_channel_order" is true, which is supported of MobileViTImageProcessor only/,
    ],
    [{ size: 224, image_grid_pinpoints: [[336, 672]] }, /"image_grid_pinpoints" is .*which is not supported/],
    [
      { image_processor_type: "DINOv3ViTImageProcessor", resample: 3 },
      /"resample" is 3, which DINOv3ViTImageProcessor applies to floats: only 2 \(bilinear\) is supported/,
    ],
    [
      { image_processor_type: "LevitImageProcessor" },
      /"image_processor_type" is "LevitImageProcessor", whose resizing is not supported/,
    ],
    [{ size: 224, crop_to_patches: true, max_patches: 1e9 }, /"max_patches" is 1000000000, .* integer from 1 to 1024/],
    [{ size: 224, resample: "3".repeat(50_000) }, /"resample" is "3{119}…, but must be one of/],
  ])("is refused by the field that nothing here does: %j", async (json, message) => {
    await expect(geometry(json)).rejects.toThrow(message);
  });
});

interface Reference {
  /** PNG files. */
  readonly picture: string;
  readonly tall: string;
  /** Files, and the pixels that transformers makes with them: f32 [3, 12, 12] in base64. */
  readonly cases: Readonly<Record<string, { readonly config: object; readonly pixels: string }>>;
  /** Files, and the size and bytes [channel, row, column] of both pictures, before they are scaled. */
  readonly shapes: Readonly<Record<string, { readonly config: object } & Readonly<Record<"wide" | "tall", Shaped>>>>;
  /** A file of a processor that resizes floats, and its pixels, as those of `cases`. */
  readonly floats: { readonly config: object; readonly pixels: string };
}

interface Shaped {
  readonly size: readonly [number, number];
  readonly pixels: string;
}

const half = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

describe("pixels of a preprocessor_config.json are those of transformers", () => {
  const path = new URL("../fixtures/preprocessing.json", import.meta.url);
  const { picture, tall, cases, shapes, floats } = JSON.parse(readFileSync(path, "utf8")) as Reference;
  const source = { name: "picture.png", bytes: Buffer.from(picture, "base64") };

  test.each(Object.entries(cases))("%s", async (_, { config, pixels }) => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(config));
    const { geometry, unknown, ...found } = (await checkpointPreprocessing(folder.at(), 12))!;
    const made = await pixelsFrom(source, {
      geometry: { size: 12, ...geometry },
      normalization: pixelValues(found),
    });
    const want = new Float32Array(Uint8Array.from(Buffer.from(pixels, "base64")).buffer);
    const scale = Math.max(1, ...want.map(Math.abs)); // values of 0 to 255 have fewer decimals
    expect(made.data).toHaveLength(want.length);
    expect(Math.max(...want.map((value, i) => Math.abs(value - made.data[i]!))) / scale).toBeLessThan(1e-5);
    expect(unknown).toEqual([]);
  });

  test("but for the rounding to 8 bits, where its class resizes floats, which is said", async () => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(floats.config));
    const found = (await checkpointPreprocessing(folder.at(), 12))!;
    const { mean, std, geometry } = found;
    const made = await pixelsFrom(source, { geometry: { size: 12, ...geometry }, normalization: { mean, std } });
    const want = new Float32Array(Uint8Array.from(Buffer.from(floats.pixels, "base64")).buffer);
    expect(made.data).toHaveLength(want.length);
    const largest = Math.max(...want.map((value, i) => Math.abs(value - made.data[i]!) * std[Math.floor(i / 144)]!));
    expect(largest).toBeLessThan(1 / 255);
    expect(sourceText(found)).toMatch(
      /resized as 8-bit colours here, not as floats: values differ by up to 1\/255 before normalization$/,
    );
  });

  test.each(Object.entries(shapes))("%s, of a height and a width", async (_, { config, ...made }) => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(config));
    for (const [which, png] of Object.entries({ wide: picture, tall })) {
      const { size, pixels } = made[which as keyof typeof made];
      const { geometry, otherwise } = (await checkpointPreprocessing(folder.at(), size))!;
      expect(otherwise).toBeUndefined();
      const bytes = { name: which, bytes: Buffer.from(png, "base64") };
      const { data, channels } = await decodeImage(bytes, { size, ...geometry });
      const count = size[0] * size[1];
      const planes = Array.from({ length: 3 * count }, (_, i) => data[(i % count) * channels + Math.floor(i / count)]);
      expect([which, planes]).toEqual([which, [...Buffer.from(pixels, "base64")]]);
    }
  });

  test.each<readonly [string, object, readonly [number, number], object]>([
    [
      "in proportion, along the short side where the crop keeps its aspect ratio",
      { size: { shortest_edge: 200 }, crop_size: { height: 192, width: 96 } },
      [384, 192],
      { geometry: { fit: "crop", cover: 400 } },
    ],
    [
      "along each side, where it has another, which is then said",
      { size: { shortest_edge: 256 }, crop_size: { height: 224, width: 224 } },
      [448, 112],
      { geometry: { fit: "crop", cover: [512, 128] }, otherwise: 224 },
    ],
    [
      "stretched along each side",
      { ...{ size: { height: 60, width: 20 }, crop_size: { height: 48, width: 16 } }, do_center_crop: true },
      [96, 32],
      { geometry: { fit: "crop", cover: [120, 40], stretched: true } },
    ],
    ["squashed", { size: { height: 384, width: 640 } }, [192, 192], { otherwise: [384, 640] }],
    ["as a list", { size: [384, 640] }, [384, 640], { geometry: { fit: "squash" } }],
  ])("of a model of another size is obeyed %s", async (_, config, size, want) => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(config));
    expect(await checkpointPreprocessing(folder.at(), size)).toMatchObject(want);
  });

  test.each<readonly [Parameters<typeof preprocessorConfig>[0], ImageSize]>([
    [{ ...half, fit: "squash" }, [384, 128]],
    [{ ...half, margin: 8 / 7, interpolation: "bilinear" }, 224],
    [{ ...half, fit: "pad" }, [64, 64]],
    [{ mean: [0, 0, 0], std: [1, 1, 1], channelOrder: "bgr", margin: 9 / 8 }, 64],
  ])("is written so that it reads back: %j at %j", async (preprocessing, size) => {
    writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(preprocessorConfig(preprocessing, size)));
    const { fit, margin = 1, interpolation = "bicubic" } = preprocessing;
    const cropped = { cover: scaledSize(size, margin) };
    expect(await checkpointPreprocessing(folder.at(), size)).toMatchObject({
      ...{ ...pixelValues(preprocessing), unknown: [] },
      geometry: { fit: fit ?? "crop", interpolation, ...(fit ? {} : cropped) },
    });
  });

  test("is none for a geometry that no processor has", () => {
    for (const fit of ["crop", "pad"] as const)
      expect(preprocessorConfig({ ...half, fit }, [384, 128])).toBeUndefined();
    expect(preprocessorConfig({ ...half, channelOrder: "bgr" }, 64)).toBeUndefined(); // that one does not normalize
  });
});

test("a centre between two pixels is torchvision's or transformers'", () => {
  const [sides, crop] = [
    { width: 343, height: 227 },
    { width: 224, height: 224 },
  ];
  expect(centred(sides, crop)).toMatchObject({ left: 60, top: 2 });
  expect(centred(sides, crop, "lower")).toMatchObject({ left: 59, top: 1 });
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
    expect(made).toEqual({ ...image, ...file, fit: "squash", centre: "lower", cover: 256 });
    expect(line).toBe(
      "images: 224 × 224, squash, bilinear, mean 0.5 0.5 0.5, std 0.25 0.25 0.25 (preprocessor_config.json beside the initial weights)",
    );
  });

  test("keeps a fit of its own, and says so, and the shape of images with masks", () => {
    const { image: made, line } = seen({ fit: { classify: "squash" } }, "labels", squashed);
    expect(made).toEqual({ ...image, ...file, cover: 256 });
    expect(line).toContain("crop is the stage's, the file's is squash");
    expect(seen({}, "masks", squashed).image).toEqual({ ...image, ...file });
  });

  test("has the record's preprocessing without a file", () => {
    const { mean, std } = imagenetPreprocessing;
    const { image: made, line } = seen({}, "labels", none);
    expect(made).toEqual({ ...image, normalization: { mean, std }, cover: 256 });
    expect(line).toContain("crop from 256, bicubic, mean 0.485 0.456 0.406, std 0.229 0.224 0.225 (from mine)");
  });
});

test("names what it does not know, so that a command can say so", async () => {
  const file = { image_processor_type: "MyImageProcessorFast", size: 224, sharpen: 2, do_sharpen: false, num: null };
  writeFileSync(folder.at("preprocessor_config.json"), JSON.stringify(file));
  expect((await checkpointPreprocessing(folder.at(), 224))!.unknown).toEqual(["MyImageProcessorFast", "sharpen"]);
});
