/**
 * Models of images that are not square, from the command line: a ViT with a checkpoint that transformers wrote
 * (scripts/reference/strangers.py), and a segmenter.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import * as h from "../../api/index.ts";
import { hostTensor } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { colourData } from "./colour-data.ts";
import tallVit from "./strangers/tall-vit.ts";
import { heddle, modelFile, randomWeights, scratch, writeWeights } from "./support.ts";
import wideSegmenter from "./wide-segmenter.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("image-sizes");
const strangers = (...parts: string[]) =>
  join(fileURLToPath(new URL("../fixtures/strangers", import.meta.url)), ...parts);
const read = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), "utf8")) as T;
const [model, published] = [modelFile("strangers/tall-vit.ts"), strangers("tall-vit")];
const cpu = ["--device", "cpu", "--json"];
const run = (...args: string[]) => heddle("run", model, "--weights", published, ...cpu, ...args);

interface Expected {
  readonly logits: readonly number[];
  /** [row = 6, column = 2, channel = 2 of 16] */
  readonly "block 1": readonly number[];
}
const expected = read<Readonly<Record<"wide" | "tall", Expected>>>(published, "expected.json");
const images = { wide: strangers("siglip", "picture.png"), tall: folder.at("tall.png") };

beforeAll(async () => {
  await sharp(images.wide).rotate(-90).toFile(images.tall);
  await colourData(folder);
});
afterAll(() => folder.remove());

describe("a model of tall images", () => {
  it("says of wide and tall files what transformers says", async () => {
    const ended = await run("classify", "--image", images.wide, images.tall);
    expect(ended.err).toContain("images: 24 × 8, squash, bilinear, mean 0.5 0.5 0.5");
    const found = JSON.parse(ended.out) as { guesses: { label: string; probability: number }[] }[];
    for (const [i, { logits }] of [expected.wide, expected.tall].entries()) {
      const total = logits.reduce((sum, x) => sum + Math.exp(x), 0);
      for (const { label, probability } of found[i]!.guesses) {
        const at = ["ant", "bee", "cow"].indexOf(label);
        expect(Math.abs(probability - Math.exp(logits[at]!) / total)).toBeLessThan(1e-4);
      }
    }
  });

  it("gives maps of its grid of patches", async () => {
    const out = folder.at("maps");
    const ended = await run("features", "--image", images.tall, "--blocks", "1", "--out", out);
    expect(JSON.parse(ended.out)).toMatchObject([{ shape: [6, 2, 16] }]);
    await using reader = await openSafetensors(join(out, "tall.safetensors"));
    const { data } = await reader.readTensor("block.1", { dtype: "f32" });
    const some = Array.from({ length: 24 }, (_, i) => data[Math.floor(i / 2) * 16 + (i % 2)] as number);
    expect(difference(Float32Array.from(some), expected.tall["block 1"])).toBeLessThan(1e-4);
    expect(reader.tensors.get("block.1.class")!.shape).toEqual([16]);
  });

  it("has its pixels from a program too", async () => {
    const preprocessing = {
      fit: "squash",
      interpolation: "bilinear",
      mean: [0.5, 0.5, 0.5],
      std: [0.5, 0.5, 0.5],
    } as const;
    const pixels = await h.picture(images.wide, { size: [24, 8], preprocessing });
    expect(pixels.axes.map(({ size }) => size)).toEqual([1, 3, 24, 8]);
    const device = await h.openDevice("reference");
    const session = await h.session(device, tallVit as unknown as h.Model, { weights: published });
    const { logits } = await session.run({ pixels });
    device.dispose();
    expect(difference(logits!.data, expected.wide.logits)).toBeLessThan(1e-4);
    await expect(h.picture(images.wide, { size: [24, 0], preprocessing })).rejects.toThrow(
      "the image size must be a whole number of pixels from 1 to 16384, or two, [height, width]; got [24,0]",
    );
    await expect(h.picture(images.wide, { size: "24x8" as never, preprocessing })).rejects.toThrow(
      'the option "size" of picture is the string "24x8"; expected a number of pixels, or two: [height, width]',
    );
  });

  it("is padded to the aspect ratio with the colour of the mean", async () => {
    const [mean, std] = [[0.2, 0.4, 0.6] as const, [1, 1, 1] as const];
    const { data } = await h.picture(images.wide, { size: [24, 8], preprocessing: { fit: "pad", mean, std } });
    const beside = [0, 1, 2].map((channel) => data[channel * 24 * 8]!);
    expect(
      difference(
        Float32Array.from(beside),
        [51, 102, 153].map((c, i) => c / 255 - mean[i]!),
      ),
    ).toBeLessThan(1e-6);
  });

  it("is converted with a file of its preprocessing, where transformers has such", async () => {
    const random = ["--weights", "random", "--json"];
    const cropped = await heddle("convert", model, ...random, "--out", folder.at("cropped"));
    expect(cropped.err).toContain("no preprocessor_config.json: transformers has no image processor that crops");
    const kept = await heddle("convert", model, "--weights", published, "--out", folder.at("kept"), "--json");
    expect([kept.status, kept.err]).toEqual([0, expect.not.stringContaining("no preprocessor_config.json")]);
    expect(read(folder.at("kept", "preprocessor_config.json"))).toMatchObject({ size: { height: 24, width: 8 } });
  });

  it("trains on random crops and flips, from positions of another grid, and is evaluated", async () => {
    const sizes = ["rows=48", "columns=16", "crop=0.3", "workers=0", "batch=3", "steps=2"];
    const settings = sizes.flatMap((s) => ["--set", s]);
    const at = ["--data", folder.at("classes"), "--runs", folder.at("runs"), "--from", published];
    const ended = await heddle("train", model, "--stage", "classes", ...at, ...settings, ...cpu);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain("vit.embeddings.position_embeddings: interpolated from 6 × 2 to 12 × 4 patches");
    const trained = ["--weights", folder.at("runs", "tall-vit-classes")];
    const data = ["--data", folder.at("classes"), "--train", folder.at("classes")];
    const found = await heddle("evaluate", model, ...trained, "--protocol", "knn", ...data, ...cpu);
    expect(found.err).toContain("images: 48 × 16, squash, bilinear, mean 0.5");
    expect(JSON.parse(found.out)).toMatchObject({ samples: 6 });
  });
});

describe("a model of images of any size", () => {
  const anySize = modelFile("any-size.ts");
  const maps = (weights: string, ...args: string[]) => {
    const at = ["features", "--image", images.wide, "--out", folder.at("any")];
    return heddle("run", anySize, "--weights", weights, ...cpu, ...args, ...at);
  };

  it("takes the size from the stage, the command or the checkpoint's processor, and asks where none says", async () => {
    const settings = ["--set", "workers=0", "--data", folder.at("classes"), "--runs", folder.at("runs")];
    const trained = await heddle("train", anySize, "--stage", "classes", ...settings, "--device", "cpu");
    expect([trained.status, trained.status === 0 ? "" : trained.err]).toEqual([0, ""]);
    const weights = folder.at("runs", "any-size-classes");
    rmSync(join(weights, "preprocessor_config.json"), { force: true });
    expect(await maps(weights)).toMatchObject({
      status: 1,
      err: expect.stringContaining(
        "takes images of 4*rows × 4*columns pixels (height × width): say which with --size, such as --size 224x320",
      ),
    });
    const sized = await maps(weights, "--size", "12x20");
    expect(sized.err).toContain("images: 12 × 20, squash");
    expect(JSON.parse(sized.out)).toMatchObject([{ shape: [3, 5, 8] }]);
    for (const wrong of ["12x18", "68x20"])
      expect((await maps(weights, "--size", wrong)).err).toContain(`but --size asks for ${wrong.replace("x", " × ")}`);
    const file = { image_processor_type: "ViTImageProcessor", size: { height: 8, width: 16 } };
    writeFileSync(join(weights, "preprocessor_config.json"), JSON.stringify(file));
    expect(JSON.parse((await maps(weights)).out)).toMatchObject([{ shape: [2, 4, 8] }]);
    const fixed = await run("classify", "--image", images.wide, "--size", "24x16");
    expect(fixed.err).toContain("takes images of 24 × 8 pixels (height × width), but --size asks for 24 × 16");
  });
});

describe("a segmenter of wide windows", () => {
  const weights = folder.at("segmenter.safetensors");
  const [width, height] = [50, 41];
  const classOf = (x: number, y: number) => (y < 14 ? 0 : x < 25 ? 1 : 2);

  beforeAll(async () => {
    const values = randomWeights(trace(wideSegmenter));
    for (const [name, { axes, data }] of values)
      values.set(
        name,
        hostTensor(
          "f32",
          axes,
          Float32Array.from(data, (_, i) => (data.length === 9 && i % 4 === 0 ? 1 : 0)),
        ),
      );
    await writeWeights(weights, values);
    const rgb = Uint8Array.from({ length: 3 * width * height }, (_, i) => {
      const pixel = Math.floor(i / 3);
      return classOf(pixel % width, Math.floor(pixel / width)) === i % 3 ? 220 : 30;
    });
    await sharp(rgb, { raw: { width, height, channels: 3 } })
      .png()
      .toFile(folder.at("photo.png"));
  });

  it.each([
    ["windows 4 × 10 apart", []],
    ["squash", ["--fit", "squash"]],
  ])("finds the classes of all pixels: %s", async (said, fit) => {
    const where = modelFile("wide-segmenter.ts");
    const args = ["--weights", weights, ...cpu, ...fit, "segment", "--image", folder.at("photo.png")];
    const ended = await heddle("run", where, ...args, "--out", folder.at("segments"));
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain(`images: 8 × 20, ${said}`);
    const found = await sharp(folder.at("segments", "photo.classes.png")).toColourspace("b-w").raw().toBuffer();
    const right = Array.from(found, (value, at) => value === classOf(at % width, Math.floor(at / width)) + 1);
    expect(right.filter(Boolean).length / right.length).toBeGreaterThan(0.85); // borders are blurred
  });
});
