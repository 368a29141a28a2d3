/** Reductions: a fold over named axes determines type inference, reference semantics, kernels and the builder. */
import { type Fold, finishOf, liftOf, type ScalarAlgebra } from "../ir/algebra.ts";
import { build } from "../ir/build.ts";
import type { DType } from "../ir/dtype.ts";
import type { Attrs, Node } from "../ir/node.ts";
import {
  type OnnxMapping,
  type OpDoc,
  type OpRecord,
  OpViolation,
  opRecord,
  type RefTensor,
  type SampleRange,
  type SpecialValue,
  type Tolerance,
} from "../ir/op.ts";
import { elementsOf, findAxis, type TensorType, tensorType } from "../ir/type.ts";
import { type Along, namesOf, type Typed } from "../ir/typed.ts";
import { record, requireAxes } from "./kinds.ts";
import { strideOf, strides } from "./reference-tools.ts";

export interface ReductionSpec {
  readonly name: string;
  readonly doc: OpDoc;
  readonly fold: Fold;
  /** The cotangent of x. */
  readonly gradient?: (x: Node, over: readonly string[], cotangent: Node, result: Node) => Node;
  /** True if the derivative is 0 almost everywhere. */
  readonly flat?: boolean;
  /** A decomposition, for targets without an operator for it. */
  readonly decompose?: (x: Node, over: readonly string[]) => Node;
  readonly onnx?: OnnxMapping;
  readonly special?: readonly SpecialValue[];
  readonly samples?: SampleRange;
  readonly tolerance?: Readonly<Partial<Record<DType, Tolerance>>>;
}

/** The builder of a reduction: on a typed operand, the named axes must be its own, and the result lacks them. */
export interface Reduction {
  <A extends string, K extends A>(x: Typed<A>, over: Along<K>): Typed<Exclude<A, K>>;
  (x: Node, over: readonly string[]): Node;
  readonly record: OpRecord;
}

const rows: TensorType = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 5 },
  { name: "c", size: 2 },
]);

/** Defines an op that folds the elements along the named axes. */
export function reduction(spec: ReductionSpec): Reduction {
  const { name, doc, fold, gradient, flat, decompose, onnx, special, samples, tolerance } = spec;
  const made = record({
    name,
    kind: "reduction",
    doc,
    operands: ["x"],
    attrs: { over: { kind: "axes" } },
    core: { kind: "row_reduction", over: (attrs) => attrs.over as string[], fold },
    work: foldWork,
    constraints: {
      C1: "the reduced axes are axes of x",
      C2: "at least one axis is reduced",
      C3: "x is a number, not a bool",
    },
    infer: ([x], attrs) => inferReduction(x!, attrs.over as string[]),
    reference: (operands, attrs, type) => foldNumbers(fold, operands, attrs.over as string[], type),
    ...(gradient && {
      gradient: (node: Node, dy: Node) => [gradient(node.operands[0]!, node.attrs.over as string[], dy, node)],
    }),
    ...(flat && { flat }),
    ...(decompose && {
      decompose: ([x]: readonly Node[], attrs: Attrs) => decompose(x!, attrs.over as string[]),
    }),
    ...(onnx && { onnx }),
    ...(special && { special }),
    ...(tolerance && { tolerance }),
    samples: [samples ?? { low: -2, high: 2 }],
    cases: [["b"], ["a", "c"], ["c", "a"], ["a", "b", "c"]].map((over) => ({ operands: [rows], attrs: { over } })),
  });
  const builder = (x: Node, over: Along<string> | readonly string[]): Node => build(name, [x], { over: namesOf(over) });
  return Object.assign(builder, { record: made }) as Reduction;
}

function inferReduction(x: TensorType, over: readonly string[]): TensorType {
  requireAxes(x, over, "C1", "x");
  if (over.length === 0) throw new OpViolation("C2", "no axis is reduced");
  if (x.dtype === "bool") throw new OpViolation("C3", "a bool cannot be reduced", "cast it to i32 or f32 first");
  return tensorType(
    x.dtype,
    x.axes.filter((a) => !over.includes(a.name)),
  );
}

/** The algebra on float64 numbers; true is 1. */
export const scalarNumbers: ScalarAlgebra<number> = {
  constant: (value) => value,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  min: Math.min,
  max: Math.max,
  less: (a, b) => (a < b ? 1 : 0),
  equal: (a, b) => (a === b ? 1 : 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  select: (condition, yes, no) => (condition ? yes : no),
  call: (op, ...operands) => opRecord(op).scalar!(...operands),
};

/** One operation per folded element. */
export const foldWork: OpRecord["work"] = ([x]) => ({ macs: 0, others: elementsOf(x!) });

const starts = { lowest: Number.NEGATIVE_INFINITY, highest: Number.POSITIVE_INFINITY } as const;

/** Evaluates a fold over the named axes in row-major order. All operands have the axes of the first. */
export function foldNumbers(
  fold: Fold,
  operands: readonly RefTensor[],
  over: readonly string[],
  type: TensorType,
): Float64Array {
  const x = operands[0]!;
  const start = fold.accumulators.map((a) => (typeof a.start === "number" ? a.start : starts[a.start]));
  const rows = new Array<readonly number[]>(type.axes.reduce((n, a) => n * (a.size as number), 1)).fill(start);
  const step = strides(x.type);
  const to = x.type.axes.map((a) => (over.includes(a.name) ? 0 : strideOf(type, a.name)));
  const row = tensorType(
    "i32",
    over.map((n) => findAxis(x.type, n)!),
  );
  const along = x.type.axes.map((a) => strideOf(row, a.name));
  for (let i = 0; i < x.data.length; i++) {
    let [at, position] = [0, 0];
    for (let d = 0; d < step.length; d++) {
      const index = Math.floor(i / step[d]!) % (x.type.axes[d]!.size as number);
      at += index * to[d]!;
      position += index * along[d]!;
    }
    const values = operands.map((o) => o.data[i]!);
    rows[at] = fold.merge(scalarNumbers, rows[at]!, liftOf(fold, scalarNumbers, values, position));
  }
  return Float64Array.from(rows, (r) => finishOf(fold, scalarNumbers, r));
}
