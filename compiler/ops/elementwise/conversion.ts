/** Elementwise conversions that keep values: cast and stop_gradient. */
import { build } from "../../ir/build.ts";
import { castValue, type DType, dtypes } from "../../ir/dtype.ts";
import type { Node } from "../../ir/node.ts";
import type { SpecialValue } from "../../ir/op.ts";
import { tensorType } from "../../ir/type.ts";
import { type Builder, elementwise, inf, nan, record, rows, type Unary } from "../kinds.ts";
import { any, floating } from "./samples.ts";

export const stopGradient: Unary = elementwise({
  name: "stop_gradient",
  doc: { summary: "x, through which no gradient flows: to what it is made of, it is a constant." },
  inputs: ["x"],
  grows: [1],
  half: "as_operands",
  dtypes: floating,
  reference: (x) => x!,
  flat: true,
  decompose: ({ x }) => x,
  wgsl: { call: (x) => x! },
  onnx: { type: "Identity", since: 1 },
  special: rows([nan, nan], [inf, inf], [-inf, -inf], [0, 0], [-0, -0]),
  samples: { x: any },
});

const castRows = (to: DType, ...all: readonly (readonly [number, number])[]): SpecialValue[] =>
  all.map(([x, result]) => ({ operands: [x], attrs: { to }, result }));

const castRecord = record({
  name: "cast",
  kind: "elementwise",
  doc: {
    summary:
      "The same values in another dtype. Floats to integers truncate, and end at the least and the largest integer; between i32 and u32 they wrap. bool is 0 or 1, anything but 0 is true.",
  },
  operands: ["x"],
  attrs: { to: { kind: "dtype" } },
  constraints: { C1: `the target is one of ${dtypes.join(", ")}` },
  infer: ([x], attrs) => tensorType(attrs.to as DType, x!.axes),
  reference: ([x], attrs) => x!.data.map((v) => castValue(v, x!.type.dtype, attrs.to as DType)),
  gradient: (node, dy) => {
    const from = node.operands[0]!.type.dtype;
    const through = (d: DType) => d === "f32" || d === "f16";
    return [through(from) && through(node.type.dtype) ? cast(dy, from) : undefined];
  },
  onnx: { type: "Cast", since: 13 },
  samples: [{ low: -3, high: 3 }],
  cases: [
    { operands: [tensorType("f32", [{ name: "a", size: 5 }])], attrs: { to: "i32" } },
    { operands: [tensorType("i32", [{ name: "a", size: 5 }])], attrs: { to: "f32" } },
    { operands: [tensorType("f32", [{ name: "a", size: 5 }])], attrs: { to: "bool" } },
  ],
  special: [
    ...castRows("i32", [nan, 0], [inf, 2 ** 31 - 1], [-inf, -(2 ** 31)], [3e9, 2 ** 31 - 1], [-0.5, 0]),
    ...castRows("u32", [nan, 0], [inf, 2 ** 32 - 1], [-inf, 0], [-1, 0], [3e9, 3e9]),
    ...castRows("bool", [nan, 1], [inf, 1], [0, 0], [-0, 0]),
  ],
});

/** x in another dtype; returns x if it already has it. */
export const cast: Builder<(x: Node, to: DType) => Node> = Object.assign(
  (x: Node, to: DType) => (x.type.dtype === to ? x : build("cast", [x], { to })),
  { record: castRecord },
);
