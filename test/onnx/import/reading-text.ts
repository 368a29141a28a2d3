/**
 * PP-OCR's three models on a picture, whatever runs them, in Node or in a page: where text is, which way up, and what
 * it says.
 */

export const modelFiles = {
  detect: "ch_PP-OCRv4_det_infer.onnx",
  classify: "ch_ppocr_mobile_v2.0_cls_infer.onnx",
  recognize: "ch_PP-OCRv4_rec_infer.onnx",
} as const;
export type Stage = keyof typeof modelFiles;

/** What the recognizer's classes are called, a line for each. */
export const lettersFile = "ppocr_keys_v1.txt";

/** A tensor in ONNX's order. */
export interface Plain {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}
export type RunStage = (stage: Stage, input: Plain) => Promise<Plain>;

export type Box = readonly [left: number, top: number, width: number, height: number];

/** Opaque bytes of red, green and blue. */
export interface Bytes {
  readonly width: number;
  readonly height: number;
  readonly data: ArrayLike<number>;
}

/** A picture that parts can be cut from, stretched to a size or, with `contain`, as large as it fits, on white. */
export type Cut = (box?: Box, to?: { width: number; height: number; contain: boolean }) => Promise<Bytes>;

function normalized({ width, height, data }: Bytes, mean: readonly number[], std: readonly number[]): Plain {
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
  readonly box: Box;
}

/**
 * Finds the one line of a picture whose sides are multiples of 32, and reads it. `names` is the text of `lettersFile`.
 */
export async function readText(cut: Cut, names: string, run: RunStage): Promise<ReadText> {
  const whole = normalized(await cut(), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
  const box = boxOf(await run("detect", whole));
  const small = await cut(box, { width: 192, height: 48, contain: true });
  const turned = await run("classify", normalized(small, half, half));
  const width = Math.round((48 * box[2]) / box[3] / 8) * 8;
  const line = await cut(box, { width, height: 48, contain: false });
  const scores = await run("recognize", normalized(line, half, half));
  return { text: written(scores, names), upright: turned.data[0]!, box };
}

/** Around what is probably text, with a margin. */
function boxOf({ shape, data }: Plain): Box {
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
function written({ shape, data }: Plain, names: string): string {
  // Class 0 is a blank, then come the lines of the file, last a space.
  const letters = ["", ...names.trimEnd().split("\n"), " "];
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
