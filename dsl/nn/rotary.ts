/** Rotary position embedding (RoPE): pairs of elements are rotated by an angle proportional to the position. */
import { type Dim, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import {
  type AnyTensor,
  add,
  at,
  cast,
  concat,
  cos,
  exp,
  idiv,
  iota,
  merge,
  mod,
  mul,
  rename,
  scale,
  sin,
  sizeOf,
  slice,
  split,
  sub,
  type Tensor,
  table,
  typed,
} from "../tensor.ts";

/**
 * Context extension beyond the training length. "linear": positions are divided by `factor` (Chen et al. 2023,
 * arXiv:2306.15595). "llama3": only for pairs of low frequency, with fewer than `low` turns in `context` tokens; those
 * with more than `high` are unchanged, with a linear ramp between (LLaMA 3.1).
 */
export type RotaryScaling =
  | { readonly type: "linear"; readonly factor: number }
  | {
      readonly type: "llama3";
      readonly factor: number;
      readonly low: number;
      readonly high: number;
      readonly context: number;
    };

/** Options of `rotary`. */
export interface RotaryOptions {
  /** Default 10000. */
  readonly base?: number;
  readonly scaling?: RotaryScaling;
  /**
   * Which elements form a pair: "half" is i and i + dim/2, as in LLaMA ("rotate_half"); "interleaved" is 2i and 2i + 1,
   * as in the paper, GPT-J and EVA-02. Default "half".
   */
  readonly pairs?: "half" | "interleaved";
}

/**
 * Rotates pairs of x's `dim` axis by position · base^(−2i/dim). Su et al. 2021, arXiv:2104.09864, section 3.2.2. A
 * number as options is the base. x [..., token, dim], position [token] or [batch, token], i32 or f32 -> as x.
 */
export function rotary<A extends string, P extends A, D extends A>(
  x: Tensor<A>,
  position: Tensor<P>,
  dim: Axis<D>,
  options: number | RotaryOptions = {},
): Tensor<A> {
  const given = typeof options === "number" ? { base: options } : options;
  checkOptions("rotary", given, { base: true, scaling: true, pairs: true });
  const count = pairsOf(dim, 2);
  const pair = axis(`${dim.name}_pair`, count);
  return turn(x, mul(cast(position, "f32"), frequencies(pair, count, given)), dim, pair, given.pairs);
}

/**
 * Two-dimensional rotary positions: the first half of the pairs is rotated by the row, the second by the column, each
 * like `rotary` on an axis half as wide. As in EVA-02 with interleaved pairs, DINOv3 and Qwen2-VL with halves. x [...,
 * token, dim], row and column [token] or [batch, token], i32 or f32 -> as x.
 */
export function rotaryGrid<A extends string, P extends A, D extends A>(
  x: Tensor<A>,
  { row, column }: { readonly row: Tensor<P>; readonly column: Tensor<P> },
  dim: Axis<D>,
  options: RotaryOptions = {},
): Tensor<A> {
  checkOptions("rotaryGrid", options, { base: true, scaling: true, pairs: true });
  const each = pairsOf(dim, 4);
  const half = axis(`${dim.name}_pair`, each);
  const frequency = frequencies(half, each, options);
  const angles: AnyTensor[] = [row, column].map((position) => mul(cast(position, "f32"), frequency));
  const pair = axis(half.name, 2 * each);
  return turn(x, concat(angles, pair), dim, pair, options.pairs);
}

/** Row and column of each patch of a grid, in row-major order; sizes may be symbolic. i32 [patch] each. */
export function gridPositions<P extends string>(
  patch: Axis<P>,
  columns: Dim,
): { readonly row: Tensor<P>; readonly column: Tensor<P> } {
  const wide = sizeOf(columns, "i32");
  return { row: idiv(iota(patch), wide), column: mod(iota(patch), wide) };
}

/** The number of pairs of an axis, or of each of its halves. */
function pairsOf(dim: Axis, elements: 2 | 4): number {
  const pairs = (dim.size as number) / elements;
  if (Number.isInteger(pairs)) return pairs;
  const needed = elements === 2 ? "turn pairs" : "of a grid turn pairs by row and as many by column";
  throw new UsageError(
    `rotary positions ${needed}, but axis "${dim.name}" has ${dim.size} elements: make it ${elements === 2 ? "even" : "a multiple of 4"}`,
  );
}

/** The angle per position of each pair, in radians: f32 [pair] */
function frequencies(pair: Axis, count: number, { base = 10000, scaling }: RotaryOptions): AnyTensor {
  if (!scaling) return exp(scale(cast(iota(pair), "f32"), -Math.log(base) / count));
  const plain = Array.from({ length: count }, (_, i) => base ** (-i / count));
  return table(plain.map(scaledBy(scaling)), [pair]);
}

function scaledBy(scaling: RotaryScaling): (frequency: number) => number {
  if (scaling.type === "linear") return (frequency) => frequency / scaling.factor;
  if (scaling.type !== "llama3")
    throw new UsageError(
      `unknown scaling "${(scaling as { type: string }).type}" of rotary; expected linear or llama3`,
    );
  const { factor, low, high, context } = scaling;
  return (frequency) => {
    const turns = (context * frequency) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (turns - low) / (high - low)));
    return frequency * (kept + (1 - kept) / factor);
  };
}

/** Rotates each pair by its angle [..., pair]. */
function turn<A extends string>(
  x: Tensor<A>,
  angle: AnyTensor,
  dim: Axis,
  pair: Axis,
  pairs: "half" | "interleaved" = "half",
): Tensor<A> {
  if (pairs !== "half" && pairs !== "interleaved")
    throw new UsageError(`pairs of rotary must be "half" or "interleaved", got ${JSON.stringify(pairs)}`);
  const [low, high] = pairs === "half" ? halves(x, dim, pair) : alternate(x, dim, pair);
  const first = sub(mul(low, cos(angle)), mul(high, sin(angle)));
  const second = add(mul(high, cos(angle)), mul(low, sin(angle)));
  if (pairs === "half") return typed<A>(rename(concat([first, second], pair), pair, dim));
  const one = axis(sideOf(dim).name, 1);
  const sides = [first, second].map((y): AnyTensor => split(y, pair, [pair, one]));
  return typed<A>(merge(concat(sides, one), [pair, one], dim));
}

/** The first and the second half of an axis, each as the axis of pairs. */
const halves = (x: AnyTensor, dim: Axis, pair: Axis): [AnyTensor, AnyTensor] => [
  rename(slice(x, dim, 0, pair.size), dim, pair),
  rename(slice(x, dim, pair.size, pair.size), dim, pair),
];

/** The elements of even and of odd index along an axis, each as the axis of pairs. */
function alternate(x: AnyTensor, dim: Axis, pair: Axis): [AnyTensor, AnyTensor] {
  const side = sideOf(dim);
  const both: AnyTensor = split(x, dim, [pair, side]);
  return [at(both, side, 0), at(both, side, 1)];
}

const sideOf = (dim: Axis): Axis => axis(`${dim.name}_side`, 2);
