/**
 * The float64 reference with per-element tolerances: the graph is evaluated again with every rounded value perturbed by
 * its op's tolerance, and the change in an output is what rounding may cause. A comparison that a perturbation flips
 * makes what depends on it uncertain, so discontinuous ops need no care elsewhere.
 */
import {
  coreOf,
  type DType,
  type Graph,
  inputName,
  isGraphInput,
  type Node,
  nodesOf,
  opRecord,
  type RefTensor,
} from "../../compiler/index.ts";
import { seeded } from "../support/samples.ts";

export type Values = ReadonlyMap<string, Float64Array>;

/** The expected values of an output, and the tolerance of each element; NaN where any value is accepted. */
export interface Expected {
  readonly values: Float64Array;
  readonly tolerance: Float64Array;
}

/** The rounding error of a sum, relative to the sum of magnitudes: that of hundreds of f32 additions. */
const sumMove = 2 ** -20;
/** Attention weights are rounded to f16 before they are summed: relative to the largest result. */
const halfMove = 2 ** -10;
/** The relative perturbation that stands for an input's own rounding. */
const inputMove = 2 ** -22;
/** A safety factor on the observed change: a few draws do not find the worst case. */
const margin = 4;
/**
 * Beyond these, f32 overflows on the way, and WGSL may assume that it never does; the statistics of a hidden row are
 * −1e30.
 */
const largest = 1e32;
const largestHalf = 65504;
const largestInteger = 2 ** 31;

/** Ops of several elements or operands that do not round. */
const exact = new Set(["reduce_max", "max", "min", "neg", "abs", "select", "relu", "floor", "round", "gather"]);

const isFloat = (node: Node): boolean => node.type.dtype === "f32" || node.type.dtype === "f16";

/** Whether the op's result is rounded. */
const rounds = (node: Node): boolean => {
  const { kind } = opRecord(node.op);
  if (node.op === "cast") return node.type.dtype === "f16";
  return isFloat(node) && kind !== "movement" && kind !== "source" && !exact.has(node.op);
};

/**
 * How a run perturbs rounded values: by the tolerance times 1, −1 or anything between; or to the nearest number of the
 * dtype, since values that differ in float64 may be equal there, which no relative perturbation shows to a comparison.
 */
type Move = (value: number, granted: number, dtype: DType) => number;

const toNearest: Move = (value, _, dtype) => (dtype === "f16" ? Math.f16round(value) : Math.fround(value));

const moves = (count: number, seed: number): Move[] => {
  const next = seeded(seed);
  const by =
    (share: () => number): Move =>
    (value, granted) =>
      value + granted * share();
  const random = by(() => 2 * next() - 1);
  return [by(() => 1), by(() => -1), toNearest, ...Array.from({ length: count }, () => random)];
};

/** Thrown where an intermediate value leaves the range in which executors must agree. */
export class OutOfRange extends Error {}

function evaluateMoved(graph: Graph, inputs: Values, move: Move | undefined): Map<string, Float64Array> {
  const results = new Map<Node, Float64Array>();
  for (const node of nodesOf(graph)) {
    const record = opRecord(node.op);
    const operands = node.operands.map((o) => ({ type: o.type, data: results.get(o)! }));
    const data = isGraphInput(node) ? inputs.get(inputName(node))! : record.reference(operands, node.attrs, node.type);
    if (!move) assertInRange(node, data);
    results.set(node, move ? moved(node, data, termsOf(node, operands), move) : data);
  }
  return new Map(graph.outputs.map((o) => [o.name, results.get(o.node)!]));
}

/** The sums of the terms' magnitudes, for ops that sum: terms that cancel leave their rounding errors behind. */
function termsOf(node: Node, operands: readonly RefTensor[]): Float64Array | undefined {
  const { kind, reference } = opRecord(node.op);
  const addsUp = kind === "reduction" || kind === "contraction" || node.op === "scatter_add";
  if (!addsUp || !rounds(node)) return undefined;
  const magnitudes = operands.map(({ type, data }) => ({ type, data: data.map(Math.abs) }));
  return reference(magnitudes, node.attrs, node.type);
}

function moved(node: Node, data: Float64Array, terms: Float64Array | undefined, move: Move): Float64Array {
  const { dtype } = node.type;
  if (isGraphInput(node)) return isFloat(node) ? data.map((v) => move(v, v * inputMove, dtype)) : data;
  if (!rounds(node)) return data;
  const { absolute, relative } = toleranceOf(node);
  const within = node.operands.some((o) => o.type.dtype === "f16") && coreOf(node)?.kind === "attention";
  const most = within ? halfMove * data.reduce((m, v) => Math.max(m, Math.abs(v)), 0) : 0;
  return data.map((v, i) => move(v, most + absolute + relative * Math.abs(v) + sumMove * (terms?.[i] ?? 0), dtype));
}

/** f16 is a storage type: kernels compute in f32 and round once. */
function toleranceOf(node: Node): { readonly absolute: number; readonly relative: number } {
  const { f16, f32 } = opRecord(node.op).tolerance;
  if (node.type.dtype !== "f16") return f32!;
  return f32 ? { absolute: f32.absolute + 2 ** -24, relative: f32.relative + 2 ** -11 } : f16!;
}

function assertInRange(node: Node, data: Float64Array): void {
  const most = !isFloat(node) ? largestInteger : node.type.dtype === "f16" ? largestHalf : largest;
  for (const v of data) if (!(Math.abs(v) < most)) throw new OutOfRange(`${node.op} has the value ${v}`);
}

/**
 * The outputs of a graph of known sizes, in float64, with their tolerances: by the rounding of the graph itself, or of
 * the one that an executor computes in its place. Throws OutOfRange.
 */
export function expected(graph: Graph, inputs: Values, draws = 3, seed = 1, computed = graph): Map<string, Expected> {
  const plain = evaluateMoved(graph, inputs, undefined);
  const unmoved = computed === graph ? plain : evaluateMoved(computed, inputs, undefined);
  const runs = moves(draws, seed).map((move) => evaluateMoved(computed, inputs, move));
  const dtypes = new Map(graph.outputs.map((o) => [o.name, o.node.type.dtype]));
  return new Map(
    [...plain].map(([name, values]) => {
      const rounding = dtypes.get(name) === "f16" ? 2 ** -10 : dtypes.get(name) === "f32" ? 2 ** -20 : 0;
      const tolerance = values.map((v, i) => {
        const off = runs.reduce(
          (most, run) => Math.max(most, Math.abs(run.get(name)![i]! - unmoved.get(name)![i]!)),
          0,
        );
        return margin * off + rounding * Math.abs(v);
      });
      return [name, { values, tolerance }];
    }),
  );
}

/** The element that exceeds its tolerance the most, as text; undefined where all agree. */
export function disagreement(got: ArrayLike<number>, want: Expected): string | undefined {
  if (got.length !== want.values.length) return `has ${got.length} elements instead of ${want.values.length}`;
  let [worst, at] = [0, -1];
  for (let i = 0; i < got.length; i++) {
    const over = Math.abs(got[i]! - want.values[i]!) - want.tolerance[i]!;
    const excess = Number.isNaN(want.tolerance[i]!) ? 0 : Number.isNaN(over) ? Number.POSITIVE_INFINITY : over;
    if (excess > worst) [worst, at] = [excess, i];
  }
  if (at < 0) return undefined;
  return `[${at}] is ${got[at]}, the reference ${want.values[at]} ± ${want.tolerance[at]!.toExponential(1)}`;
}
