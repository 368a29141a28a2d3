/** Logistic regression by L-BFGS in float64, for linear probes of frozen encoders. */
import { UsageError } from "../../compiler/index.ts";

/** Rows [row, width], flat. */
export interface Vectors {
  readonly data: Float32Array | Float64Array;
  readonly width: number;
}

export interface LogisticOptions {
  readonly classes: number;
  /** Inverse regularization strength, like scikit-learn's C. */
  readonly c: number;
  /** Default 1000. */
  readonly mostSteps?: number;
  /** Stops when no component of the mean loss's gradient is larger; default 1e-6. */
  readonly tolerance?: number;
  readonly onStep?: (step: number, loss: number) => void;
}

export interface LogisticModel {
  /** The scores of a vector, one per class. */
  scores(vector: ArrayLike<number>): Float64Array;
  readonly steps: number;
}

/**
 * Minimizes the mean cross-entropy plus |weights|² / (2 c rows), without penalizing biases, like scikit-learn's
 * LogisticRegression with lbfgs. With two classes, where scikit-learn fits the difference of their weights alone, it is
 * that difference that is penalized. UsageError for labels that are not classes, or a wrong number of vectors.
 */
export function logisticRegression(
  { data, width }: Vectors,
  labels: readonly number[],
  { classes, c, mostSteps = 1000, tolerance = 1e-6, onStep }: LogisticOptions,
): LogisticModel {
  const rows = labels.length;
  if (data.length !== rows * width || rows === 0)
    throw new UsageError(`expected ${rows} vectors of width ${width}, got ${data.length} values`);
  const wrong = labels.find((label) => !(Number.isInteger(label) && label >= 0 && label < classes));
  if (wrong !== undefined) throw new UsageError(`label ${wrong} is out of range for ${classes} classes`);
  // The two vectors are plus and minus half of their difference, whose square is twice the sum of theirs.
  const strength = (classes === 2 ? 2 : 1) / (c * rows);
  const objective = crossEntropy({ data, width }, labels, classes, strength);
  const { at, steps } = lbfgs(objective, classes * (width + 1), mostSteps, tolerance, onStep);
  return {
    steps,
    scores(vector) {
      const own = new Float64Array(classes);
      scoresOf(at, vector, 0, own);
      return own;
    },
  };
}

/** Writes the scores of the vector at offset `from`. `at` is each class's weights, then its bias. */
function scoresOf(at: Float64Array, vectors: ArrayLike<number>, from: number, into: Float64Array): void {
  const stride = at.length / into.length;
  const width = stride - 1;
  for (let k = 0; k < into.length; k += 1) {
    let sum = at[k * stride + width]!;
    for (let i = 0; i < width; i += 1) sum += at[k * stride + i]! * vectors[from + i]!;
    into[k] = sum;
  }
}

/** The mean cross-entropy plus half of `strength` times the weights' squares. */
function crossEntropy(
  { data, width }: Vectors,
  labels: readonly number[],
  classes: number,
  strength: number,
): Objective {
  const stride = width + 1;
  const rows = labels.length;
  const scores = new Float64Array(classes);
  return (at, slope) => {
    slope.fill(0);
    let loss = 0;
    for (const [row, label] of labels.entries()) {
      scoresOf(at, data, row * width, scores);
      const top = scores.reduce((a, b) => Math.max(a, b));
      const total = scores.reduce((sum, v) => sum + Math.exp(v - top), 0);
      loss += top + Math.log(total) - scores[label]!;
      for (let k = 0; k < classes; k += 1) {
        const error = (Math.exp(scores[k]! - top) / total - (k === label ? 1 : 0)) / rows;
        for (let i = 0; i < width; i += 1) slope[k * stride + i]! += error * data[row * width + i]!;
        slope[k * stride + width]! += error;
      }
    }
    let squares = 0;
    for (let i = 0; i < at.length; i += 1) {
      if (i % stride === width) continue;
      squares += at[i]! ** 2;
      slope[i]! += at[i]! * strength;
    }
    return loss / rows + (squares * strength) / 2;
  };
}

/** The value at a point; the gradient is written to `slope`. */
type Objective = (at: Float64Array, slope: Float64Array) => number;

/** History size of L-BFGS. */
const memory = 10;

/** The change of the point and of the gradient in a past step, and their dot product. */
interface Correction {
  readonly s: Float64Array;
  readonly y: Float64Array;
  readonly sy: number;
}

/**
 * Minimizes a smooth convex function, starting from 0. Nocedal and Wright 2006, algorithm 7.5; corrections without
 * positive curvature are skipped.
 */
function lbfgs(
  objective: Objective,
  size: number,
  mostSteps: number,
  tolerance: number,
  onStep: LogisticOptions["onStep"],
): { readonly at: Float64Array; readonly steps: number } {
  let [at, slope]: [Float64Array, Float64Array] = [new Float64Array(size), new Float64Array(size)];
  let value = objective(at, slope);
  const corrections: Correction[] = [];
  for (let step = 0; step < mostSteps; step += 1) {
    if (slope.every((g) => Math.abs(g) <= tolerance)) return { at, steps: step };
    const next = lineSearch(objective, { at, slope, value }, descentDirection(slope, corrections));
    if (!(next.value < value)) return { at, steps: step }; // converged to float64 precision
    const [s, y] = [difference(next.at, at), difference(next.slope, slope)];
    const sy = dot(s, y);
    if (sy > 0) corrections.push({ s, y, sy });
    if (corrections.length > memory) corrections.shift();
    ({ at, slope, value } = next);
    onStep?.(step + 1, value);
  }
  return { at, steps: mostSteps };
}

/** Minus the approximate inverse Hessian times the gradient: the two-loop recursion, algorithm 7.4. */
function descentDirection(slope: Float64Array, corrections: readonly Correction[]): Float64Array {
  const direction = slope.map((g) => -g);
  const weights = corrections.map(() => 0);
  for (let i = corrections.length - 1; i >= 0; i -= 1) {
    const { s, y, sy } = corrections[i]!;
    weights[i] = dot(s, direction) / sy;
    addScaled(direction, y, -weights[i]!);
  }
  const last = corrections.at(-1);
  const unit = last ? last.sy / dot(last.y, last.y) : 1 / Math.max(1, Math.sqrt(dot(slope, slope)));
  for (let i = 0; i < direction.length; i += 1) direction[i]! *= unit;
  for (const [i, { s, y, sy }] of corrections.entries()) addScaled(direction, s, weights[i]! - dot(y, direction) / sy);
  return direction;
}

interface Point {
  readonly at: Float64Array;
  readonly slope: Float64Array;
  readonly value: number;
}

/** Backtracking: halves the step until the value decreases sufficiently (3.4). */
function lineSearch(objective: Objective, from: Point, direction: Float64Array): Point {
  const descent = dot(from.slope, direction);
  const slope = new Float64Array(from.at.length);
  for (let length = 1; ; length /= 2) {
    const at = from.at.map((x, i) => x + length * direction[i]!);
    const value = objective(at, slope);
    if (value <= from.value + 1e-4 * length * descent || length <= 2e-12) return { at, slope, value };
  }
}

const difference = (a: Float64Array, b: Float64Array): Float64Array => a.map((x, i) => x - b[i]!);

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(to: Float64Array, from: Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i += 1) to[i]! += factor * from[i]!;
}
