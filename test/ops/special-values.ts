/** Runs the special values of the op records, and lists every case where an executor deviates from its record. */
import {
  type Attrs,
  build,
  type DType,
  type Graph,
  makeGraph,
  type OpRecord,
  opRecords,
  ops,
  type SpecialValue,
  type TensorType,
} from "../../compiler/index.ts";
import type { ExecutorName } from "../support/executors.ts";

const [nan, inf] = [Number.NaN, Number.POSITIVE_INFINITY];

/** What an executor gives instead of the specified result; any other result, even the specified one, fails the test. */
export interface Exception {
  readonly op: string;
  readonly executor: ExecutorName;
  readonly why: string;
  /** Operands as in the record's rows, and what comes out. */
  readonly rows: readonly {
    readonly operands: SpecialValue["operands"];
    readonly attrs?: Attrs;
    readonly gives: number;
  }[];
}

const largestF32 = 3.4028234663852886e38;
const row = (operands: SpecialValue["operands"], gives: number) => ({ operands, gives });
const to = (dtype: string, x: number, gives: number) => ({ operands: [x], attrs: { to: dtype }, gives });

const lostSign = "the computation loses the sign of zero";
const passedOver = "the kernel uses WGSL's max or min, which may ignore nan; testing each element would cost more";
const finiteStart =
  "the accumulator starts at a finite extreme of f32, as an adapter may assume that there are no infinities";

/**
 * Exceptions of reduce_max and reduce_min: `chosen` is the extreme of 1 and 2; kernels start next to the infinity
 * `start`.
 */
const extremes = (op: string, chosen: number, start: number): Exception[] => [
  ...(["kernels", "webgpu"] as const).map(
    (executor): Exception => ({
      op,
      executor,
      why: finiteStart,
      rows: [row([[start, start, start]], Math.sign(start) * largestF32)],
    }),
  ),
  {
    op,
    executor: "webgpu",
    why: passedOver,
    rows: [row([[nan, 1, 2]], chosen), row([[1, nan, 2]], chosen), row([[1, 2, nan]], chosen)],
  },
  {
    op,
    executor: "onnxruntime",
    why: "it propagates nan only from the first element",
    rows: [row([[1, nan, 2]], chosen), row([[1, 2, nan]], chosen)],
  },
];

export const exceptions: readonly Exception[] = [
  { op: "sin", executor: "webgpu", why: lostSign, rows: [row([-0], 0)] },
  { op: "tanh", executor: "webgpu", why: lostSign, rows: [row([-0], 0)] },
  { op: "erf", executor: "webgpu", why: lostSign, rows: [row([-0], 0)] },
  { op: "expm1", executor: "onnxruntime", why: "as for select, into which it decomposes", rows: [row([-0], 0)] },
  { op: "select", executor: "onnxruntime", why: "its Where loses the sign of zero", rows: [row([1, -0, 0], 0)] },
  {
    op: "cast",
    executor: "webgpu",
    why: "WGSL leaves the conversion of nan unspecified, and clamps to the largest float that the integer type can hold",
    rows: [
      to("i32", nan, -(2 ** 31)),
      to("i32", inf, 2 ** 31 - 128),
      to("i32", 3e9, 2 ** 31 - 128),
      to("u32", inf, 2 ** 32 - 256),
    ],
  },
  {
    op: "cast",
    executor: "onnxruntime",
    why: "ONNX leaves conversions out of the integer's range undefined",
    rows: [
      to("i32", nan, -(2 ** 31)),
      to("i32", inf, -(2 ** 31)),
      to("i32", 3e9, -(2 ** 31)),
      to("u32", nan, 2 ** 31),
      to("u32", inf, 0),
    ],
  },
  ...extremes("reduce_max", 2, -inf),
  ...extremes("reduce_min", 1, inf),
  {
    op: "argmax",
    executor: "onnxruntime",
    why: "a nan in first place counts as the largest value",
    rows: [row([[nan, 1, 2]], 0)],
  },
];

/** Records that say what special values give. */
export const specialRecords = (): OpRecord[] => opRecords().filter((r) => (r.special ?? []).length > 0);

const sameAttrs = (a: Attrs = {}, b: Attrs = {}): boolean => JSON.stringify(a) === JSON.stringify(b);

/** Rows of one record that one graph computes: those with the same attributes. */
export interface Batch {
  readonly graph: Graph;
  readonly values: ReadonlyMap<string, Float64Array>;
  readonly rows: readonly SpecialValue[];
}

/**
 * A record's rows as graphs: one for each choice of attributes, with a row of the table as an element or a row of its
 * operands.
 */
export function batches(record: OpRecord): Batch[] {
  const all = record.special ?? [];
  const kinds = all.filter((r, i) => all.findIndex((o) => sameAttrs(o.attrs, r.attrs)) === i);
  return kinds.map(({ attrs }) =>
    batchOf(
      record,
      all.filter((r) => sameAttrs(r.attrs, attrs)),
      attrs,
    ),
  );
}

function batchOf(record: OpRecord, rows: readonly SpecialValue[], own: Attrs | undefined): Batch {
  const example = record.cases.find((c) => sameAttrs(c.attrs, own)) ?? record.cases[0]!;
  const elements = rows[0]!.operands[0]!;
  const each = { name: "each", size: rows.length };
  const axes = typeof elements === "number" ? [each] : [each, { name: "element", size: elements.length }];
  const attrs = own ?? (typeof elements === "number" ? {} : overElements(example.attrs));
  const inputs = example.operands.map((t: TensorType, i) => ops.input(`x${i}`, t.dtype, axes));
  const flat = (i: number) =>
    Float64Array.from(
      rows.flatMap((r) => r.operands[i]!),
      Math.fround,
    );
  return {
    graph: makeGraph(record.name, [{ name: "y", node: build(record.name, inputs, attrs) }], inputs),
    values: new Map(inputs.map((n, i) => [String(n.attrs.name), flat(i)])),
    rows,
  };
}

/** Attributes of a reduction, with its axes replaced by that of the elements. */
const overElements = (attrs: Attrs): Attrs =>
  Object.fromEntries(
    Object.entries(attrs).map(([name, value]) => [name, Array.isArray(value) ? ["element"] : "element"]),
  );

/** The exception for a row, if there is one. */
export const exceptionFor = (executor: ExecutorName, op: string, { operands, attrs }: SpecialValue) =>
  exceptions
    .filter((e) => e.op === op && e.executor === executor)
    .flatMap((e) => e.rows)
    .find(
      (r) => JSON.stringify(spelled(r.operands)) === JSON.stringify(spelled(operands)) && sameAttrs(r.attrs, attrs),
    );

const spelled = (operands: SpecialValue["operands"]) => operands.map((o) => [o].flat().map(spell));

/** A number as the page writes it: -0 is not 0. */
export function spell(value: number): string {
  if (Object.is(value, -0)) return "-0";
  if (Number.isNaN(value)) return "nan";
  if (Math.abs(value) === inf) return value < 0 ? "-inf" : "inf";
  return String(value);
}

/** `cast(nan) to i32`, as messages and pages write it. */
export function callText(op: string, { operands, attrs = {} }: Pick<SpecialValue, "operands" | "attrs">): string {
  const list = operands.map((o) => (typeof o === "number" ? spell(o) : `[${o.map(spell).join(", ")}]`));
  const after = Object.entries(attrs).map(([name, value]) => ` ${name} ${value}`);
  return `${op}(${list.join(", ")})${after.join("")}`;
}

/** Equal to the bit for integers, nan, infinities and zeros, to f32's roundings for all else. */
export function agrees(got: number, want: number, dtype: DType): boolean {
  const rounded = Math.fround(want);
  if (dtype !== "f32") return got === want;
  if (!Number.isFinite(rounded) || rounded === 0) return Object.is(Math.fround(got), rounded);
  return Math.abs(got - want) <= 1e-5 * Math.abs(want);
}
