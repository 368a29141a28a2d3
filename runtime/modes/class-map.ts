/**
 * Semantic segmentation by sliding windows: each window's scores are resized to it, and averaged where windows overlap.
 * MMSegmentation 0.30, mmseg/models/segmentors/encoder_decoder.py, `slide_inference`.
 */
import type { HostTensor, Sides } from "../../compiler/index.ts";
import { permute } from "../weights.ts";

/** The class of each pixel: [row, column]. */
export interface ClassMap extends Sides {
  readonly data: Int32Array;
}

/** Window offsets along a length of at least `size`: `stride` apart, the last one flush with the end. */
export function windowStarts(length: number, size: number, stride: number): readonly number[] {
  const count = Math.ceil(Math.max(0, length - size) / stride) + 1;
  return Array.from({ length: count }, (_, i) => Math.min(i * stride, length - size));
}

/** Scores per pixel, [row, column, class]. */
interface Scores extends Sides {
  readonly classes: number;
  readonly data: ArrayLike<number>;
}

/** The scores of each batch row, from a tensor [batch, class, row, column] in any axis order. */
export function scoresOf(tensor: HostTensor): readonly Scores[] {
  const { axes, data } = permute(tensor, ["batch", "row", "column", "class"]);
  const [batch, height, width, classes] = axes.map(({ size }) => Number(size)) as [number, number, number, number];
  const each = height * width * classes;
  return Array.from({ length: batch }, (_, row) => ({
    ...{ width, height, classes },
    data: data.subarray(row * each, (row + 1) * each) as ArrayLike<number>,
  }));
}

/** Accumulates the scores of windows of the sides `window`. */
export function scoreMap({ width, height }: Sides, window: Sides) {
  const seen = new Uint16Array(width * height);
  let sum: Scores & { readonly data: Float32Array } = { width, height, classes: 0, data: new Float32Array(0) };
  return {
    add(scores: Scores, { left, top }: { readonly left: number; readonly top: number }): void {
      const { classes } = scores;
      if (sum.classes === 0) sum = { width, height, classes, data: new Float32Array(width * height * classes) };
      for (const [row, line] of resized(scores, window)) {
        const at = (top + row) * width + left;
        const into = sum.data.subarray(at * classes, (at + window.width) * classes);
        for (let i = 0; i < line.length; i += 1) into[i]! += line[i]!;
        for (let column = 0; column < window.width; column += 1) seen[at + column]! += 1;
      }
    },
    /** The class of each pixel, of the means resized to the given size. */
    classes(sides: Sides): ClassMap {
      const { classes, data } = sum;
      for (const [place, times] of seen.entries())
        if (times > 1) for (let c = 0; c < classes; c += 1) data[place * classes + c]! /= times;
      seen.fill(1);
      return classesOfScores(sum, sides);
    },
  };
}

/**
 * The argmax class of each pixel of scores resized to the given size; ties go to the first class. Of a whole image's
 * scores as transformers' `post_process_semantic_segmentation`, which resizes them once.
 */
export function classesOfScores(scores: Scores, sides: Sides): ClassMap {
  const { classes } = scores;
  const best = new Int32Array(sides.width * sides.height);
  for (const [row, line] of resized(scores, sides))
    for (let column = 0; column < sides.width; column += 1)
      best[row * sides.width + column] = argmax(line, column * classes, classes);
  return { ...sides, data: best };
}

function argmax(line: Float32Array, from: number, count: number): number {
  let best = 0;
  for (let c = 1; c < count; c += 1) if (line[from + c]! > line[from + best]!) best = c;
  return best;
}

/**
 * Rows of bilinearly resized scores, as in torch.nn.functional.interpolate with align_corners = false; each row is
 * valid until the next.
 */
function* resized({ width, height, classes, data }: Scores, to: Sides): Generator<readonly [number, Float32Array]> {
  const [rows, columns] = [between(height, to.height), between(width, to.width)];
  const [mixed, line] = [new Float32Array(width * classes), new Float32Array(to.width * classes)];
  for (const [row, { low, high, share }] of rows.entries()) {
    const [above, below] = [low * mixed.length, high * mixed.length];
    for (let i = 0; i < mixed.length; i += 1) mixed[i] = data[above + i]! * (1 - share) + data[below + i]! * share;
    for (const [column, tap] of columns.entries()) {
      const [left, right] = [tap.low * classes, tap.high * classes];
      for (let c = 0; c < classes; c += 1)
        line[column * classes + c] = mixed[left + c]! * (1 - tap.share) + mixed[right + c]! * tap.share;
    }
    yield [row, line];
  }
}

/** The two source positions around each target position, and the weight of the second. */
function between(from: number, to: number): readonly { low: number; high: number; share: number }[] {
  return Array.from({ length: to }, (_, i) => {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    const low = Math.min(from - 1, Math.floor(at));
    return { low, high: Math.min(from - 1, low + 1), share: at - low };
  });
}
