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
  const stride = width + 1; // a class's weights, then its bias
  // The two vectors are plus and minus half of their difference, whose square is twice the sum of theirs.
  const strength = (classes === 2 ? 2 : 1) / (c * rows);
  const scoresOf = (at: Float64Array, vector: ArrayLike<number>, from: number, into: Float64Array) => {
    for (let k = 0; k < classes; k += 1) {
      let sum = at[k * stride + width]!;
      for (let i = 0; i < width; i += 1) sum += at[k * stride + i]! * vector[from + i]!;
      into[k] = sum;
    }
  };
  const scores = new Float64Array(classes);
  const objective: Objective = (at, slope) => {
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
    for (let at0 = 0; at0 < at.length; at0 += 1) {
      if (at0 % stride === width) continue;
      squares += at[at0]! ** 2;
      slope[at0]! += at[at0]! * strength;
    }
    return loss / rows + (squares * strength) / 2;
  };
  const { at, steps } = lbfgs(objective, classes * stride, mostSteps, tolerance, onStep);
  return {
    steps,
    scores(vector) {
      const own = new Float64Array(classes);
      scoresOf(at, vector, 0, own);
      return own;
    },
  };
}

/** The value at a point; the gradient is written to `slope`. */
type Objective = (at: Float64Array, slope: Float64Array) => number;

/** History size of L-BFGS. */
const memory = 10;

/**
 * Minimizes a smooth convex function, starting from 0. Nocedal and Wright 2006, algorithm 7.5 with the two-loop
 * recursion 7.4; backtracking halves the step until the decrease suffices (3.4), and pairs without positive curvature
 * are skipped.
 */
function lbfgs(
  objective: Objective,
  size: number,
  mostSteps: number,
  tolerance: number,
  onStep: LogisticOptions["onStep"],
): { readonly at: Float64Array; readonly steps: number } {
  let [at, slope] = [new Float64Array(size), new Float64Array(size)];
  let value = objective(at, slope);
  const pairs: { readonly s: Float64Array; readonly y: Float64Array; readonly sy: number }[] = [];
  for (let step = 0; step < mostSteps; step += 1) {
    if (slope.every((g) => Math.abs(g) <= tolerance)) return { at, steps: step };
    const direction = slope.map((g) => -g);
    const weights = pairs.map(() => 0);
    for (let i = pairs.length - 1; i >= 0; i -= 1) {
      const { s, y, sy } = pairs[i]!;
      weights[i] = dot(s, direction) / sy;
      addScaled(direction, y, -weights[i]!);
    }
    const last = pairs.at(-1);
    const unit = last ? last.sy / dot(last.y, last.y) : 1 / Math.max(1, Math.sqrt(dot(slope, slope)));
    for (let i = 0; i < size; i += 1) direction[i]! *= unit;
    for (const [i, { s, y, sy }] of pairs.entries()) addScaled(direction, s, weights[i]! - dot(y, direction) / sy);
    const descent = dot(slope, direction);
    const nextSlope = new Float64Array(size);
    let [length, next, nextValue] = [1, at, value];
    do {
      next = at.map((x, i) => x + length * direction[i]!);
      nextValue = objective(next, nextSlope);
      if (nextValue <= value + 1e-4 * length * descent) break;
      length /= 2;
    } while (length > 1e-12);
    if (!(nextValue < value)) return { at, steps: step }; // converged to float64 precision
    const [s, y] = [next.map((x, i) => x - at[i]!), nextSlope.map((g, i) => g - slope[i]!)];
    const sy = dot(s, y);
    if (sy > 0) pairs.push({ s, y, sy });
    if (pairs.length > memory) pairs.shift();
    [at, slope, value] = [next, nextSlope, nextValue];
    onStep?.(step + 1, value);
  }
  return { at, steps: mostSteps };
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(to: Float64Array, from: Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i += 1) to[i]! += factor * from[i]!;
}
