/** Deterministic inputs for table-driven tests of op records. */
import {
  type Graph,
  makeGraph,
  type Node,
  type OpCase,
  type OpRecord,
  ops,
  type RefTensor,
  type SampleRange,
  type TensorType,
} from "../../compiler/index.ts";

/** A small random generator for tests: mulberry32, in [0, 1). */
export function seeded(seed: number): () => number {
  let s = seed >>> 0;
  return () => {
    s = (s + 0x6d2b79f5) >>> 0;
    let t = Math.imul(s ^ (s >>> 15), s | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export const count = (type: TensorType): number => type.axes.reduce((n, a) => n * (a.size as number), 1);

/** Values for an operand, within its record's range and away from kinks. */
export function draw(type: TensorType, range: SampleRange, next: () => number): Float64Array {
  return Float64Array.from({ length: count(type) }, () => {
    for (;;) {
      const v = range.low + next() * (range.high - range.low);
      const value = range.integer || !type.dtype.startsWith("f") ? Math.round(v) : Math.fround(v);
      if (!(range.avoid ?? []).some((a) => Math.abs(a - value) < 0.05))
        return type.dtype === "bool" ? (next() < 0.5 ? 0 : 1) : value;
    }
  });
}

export const rangeOf = (record: OpRecord, i: number): SampleRange =>
  record.samples[Math.min(i, record.samples.length - 1)] ?? { low: -1, high: 1 };

export const operandsOf = (record: OpRecord, c: OpCase, seed: number): RefTensor[] => {
  const next = seeded(seed);
  return c.operands.map((type, i) => ({ type, data: draw(type, rangeOf(record, i), next) }));
};

/** Inputs named x0, x1, ... of the case's operand types. */
export const inputsOf = (c: OpCase): Node[] => c.operands.map((t, i) => ops.input(`x${i}`, t.dtype, t.axes));

export const graphOf = (name: string, inputs: readonly Node[], node: Node): Graph =>
  makeGraph(name, [{ name: "y", node }], inputs);

export const inputMap = (tensors: readonly RefTensor[]): Map<string, Float64Array> =>
  new Map(tensors.map((t, i) => [`x${i}`, t.data]));

/** The largest |a - b| in excess of the tolerance; passes if 0 or less. NaN counts as infinite. */
export function excess(got: ArrayLike<number>, want: ArrayLike<number>, absolute: number, relative: number): number {
  let worst = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < want.length; i++) {
    const over = Math.abs(got[i]! - want[i]!) - absolute - relative * Math.abs(want[i]!);
    worst = Number.isNaN(over) ? Number.POSITIVE_INFINITY : Math.max(worst, over);
  }
  return got.length === want.length ? worst : Number.POSITIVE_INFINITY;
}
