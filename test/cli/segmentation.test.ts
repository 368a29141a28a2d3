/** Segmentation from the command line, on emoji pasted on backgrounds: few-shot training, `run segment`, `evaluate`. */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { packageFolder } from "../../examples/emoji/packages.ts";
import { heddle, modelFile, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 300_000 }); // several commands, on a machine that may be busy

const folder = scratch("segmentation");
afterAll(() => folder.remove());

/** By their numbers in annotations; 1 is the background. */
const emoji = ["1F31E", "1F30A"] as const;
const [width, height, drawn] = [44, 32, 18];

beforeAll(async () => {
  for (const at of ["images/training", "images/validation", "annotations/training", "annotations/validation"])
    mkdirSync(folder.at("data", at), { recursive: true });
  for (let i = 0; i < 10; i += 1) {
    const part = i < 8 ? "training" : "validation";
    const [left, top] = [(i * 7) % (width - drawn), (i * 5) % (height - drawn)];
    const id = emoji[i % 2]!;
    const art = await sharp(join(packageFolder("openmoji"), "color", "svg", `${id}.svg`))
      .resize(drawn)
      .png()
      .toBuffer();
    const background = { r: 60 + i, g: 150 - 2 * i, b: 70 };
    await sharp({ create: { width, height, channels: 3, background } })
      .composite([{ input: art, left, top }])
      .png()
      .toFile(folder.at("data/images", part, `${i}.png`));
    const alpha = await sharp(art).extractChannel("alpha").raw().toBuffer();
    const numbers = new Uint8Array(width * height).fill(1);
    for (let at = 0; at < alpha.length; at += 1) {
      const place = (top + Math.floor(at / drawn)) * width + left + (at % drawn);
      if (alpha[at]! > 127) numbers[place] = 2 + (i % 2);
    }
    numbers[0] = 0; // no class, in this layout
    await sharp(numbers, { raw: { width, height, channels: 1 } })
      .toColourspace("b-w")
      .png()
      .toFile(folder.at("data/annotations", part, `${i}.png`));
  }
});

const model = modelFile("tiny-linear.ts");
const sets = (settings: object) => Object.entries(settings).flatMap(([key, value]) => ["--set", `${key}=${value}`]);
const here = ["--device", "cpu"];
const validation = () => folder.at("data/images/validation");
const weights = () => ["--weights", folder.at("runs/tiny-linear-few-shot")];
const evaluate = (...args: string[]) =>
  heddle("evaluate", model, ...weights(), ...here, "--protocol", "segmentation", ...args);

const raw = async (path: string) => await sharp(path).toColourspace("b-w").raw().toBuffer();

describe("a segmenter", () => {
  beforeAll(async () => {
    const sizes = { "vision.image": 32, "vision.patch": 4, workers: 0 };
    const course = { share: "1/2", steps: 60, batch: 4, rate: 1e-2, crop: 1, dropPath: 0 };
    const data = ["--data", folder.at("data/images/training"), "--runs", folder.at("runs")];
    const args = ["--stage", "few-shot", ...data, ...here, ...sets({ ...sizes, ...course })];
    const ended = await heddle("train", model, ...args, "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain("warmup: 2 of 60 steps, scaled from the published 1500 of 80000");
  });

  it("draws what it finds over pictures, and writes it as an annotation", async () => {
    const images = [8, 9].map((i) => join(validation(), `${i}.png`));
    const args = ["--image", ...images, "--labels", "green,sun,wave", "--out", folder.at("drawn"), "--json"];
    const ended = await heddle("run", model, ...weights(), ...here, "segment", ...args);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain("images: 32 × 32, windows 20 apart, bicubic");
    const [first] = JSON.parse(ended.out);
    const numbers = await raw(first.classes);
    expect(numbers).toHaveLength(width * height);
    const share = numbers.filter((n) => n === 1).length / numbers.length;
    const green = first.shares.find(({ label }: { label: string }) => label === "green");
    expect(green.share).toBeCloseTo(share, 12);
    // Of a place of the first class 60 % is its colour, which is PASCAL VOC's.
    const [picture, over] = await Promise.all(
      [images[0]!, first.drawn].map((path) => sharp(path).removeAlpha().raw().toBuffer()),
    );
    const place = numbers.indexOf(1);
    expect(green.colour).toBe("#800000");
    for (const [c, colour] of [128, 0, 0].entries())
      expect(Math.abs(over![3 * place + c]! - (0.4 * picture![3 * place + c]! + 0.6 * colour))).toBeLessThanOrEqual(1);
  });

  it("is judged by the annotations' places, in windows and whole", async () => {
    const args = ["--data", validation(), "--labels", "green,sun,wave"];
    const ended = await evaluate(...args, "--out", folder.at("judged"), "--json");
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    const { results, asked, samples } = JSON.parse(ended.out);
    expect({ asked, samples }).toEqual({ asked: { window: 32, stride: 20, firstClass: 1 }, samples: 2 });
    const [inter, union] = [
      [0, 0, 0],
      [0, 0, 0],
    ];
    for (const i of [8, 9]) {
      const right = await raw(folder.at(`data/annotations/validation/${i}.png`));
      const found = await raw(folder.at(`drawn/${i}.classes.png`));
      for (const k of [1, 2, 3])
        for (let at = 0; at < right.length; at += 1) {
          const [is, was] = [right[at] === k, found[at] === k];
          if (right[at] === 0) continue;
          if (is && was) inter[k - 1]! += 1;
          if (is || was) union[k - 1]! += 1;
        }
    }
    const ious = inter.map((n, k) => n / union[k]!);
    for (const [k, name] of ["green", "sun", "wave"].entries())
      expect(results.classes[name].iou).toBeCloseTo(ious[k]!, 12);
    expect(results.all.meanIou).toBeCloseTo(ious.reduce((a, b) => a + b, 0) / 3, 12);
    expect(results.all.meanIou).toBeGreaterThan(0.6); // green alone would give less than 1/3
    expect(readFileSync(folder.at("judged", "report.html"), "utf8").match(/data:image\/png/g)).toHaveLength(4);

    const whole = await evaluate(...args, "--fit", "squash", "--json");
    expect(JSON.parse(whole.out)).toMatchObject({ asked: { whole: 32 }, samples: 2 });
  });

  it("leaves out what it cannot judge, and says what does not fit", async () => {
    for (const at of ["images", "annotations"])
      cpSync(folder.at("data", at, "validation"), folder.at("odd", at), { recursive: true });
    writeFileSync(folder.at("odd/annotations/8.png"), readFileSync(await small(folder.at("small.png"))));
    const odd = await evaluate("--data", folder.at("odd"), "--json");
    expect(JSON.parse(odd.out)).toMatchObject({ samples: 1, skipped: [{ count: 1 }] });
    expect(odd.out).toContain("the image has # x # pixels, but its annotation has # x #");
    const more = await evaluate("--data", validation(), "--first-class", "0");
    expect(more).toMatchObject({
      status: 1,
      err: expect.stringContaining("has class 3, but the model has 3 classes from 0 on"),
    });
    const cut = await evaluate("--data", validation(), "--fit", "crop");
    expect(cut).toMatchObject({ status: 1, err: expect.stringContaining("in windows or with --fit squash") });
    const other = await heddle(
      "run",
      modelFile("tiny-model.ts"),
      "--weights",
      "random",
      "segment",
      "--image",
      "a.png",
      "--out",
      folder.at("no"),
    );
    expect(other).toMatchObject({ status: 1, err: expect.stringContaining("does not support segment") });
    expect(existsSync(folder.at("no"))).toBe(false);
  });
});

async function small(path: string): Promise<string> {
  await sharp({ create: { width: 5, height: 5, channels: 3, background: "#010101" } })
    .toColourspace("b-w")
    .png()
    .toFile(path);
  return path;
}
