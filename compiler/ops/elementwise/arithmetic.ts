/** Elementwise arithmetic: sums, products, quotients, max and min, sign and rounding. */
import type { WgslText } from "../../ir/op.ts";
import { type Binary, elementwise, inf, nan, rows, type Unary } from "../kinds.ts";
import { ge, le, select } from "./comparison.ts";
import { any, awayFromZero, floating, numeric, positive } from "./samples.ts";

export const add: Binary = elementwise({
  name: "add",
  doc: { summary: "a + b." },
  inputs: ["a", "b"],
  grows: [1, 1],
  half: "as_operands_but_streams",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => a! + b!,
  gradient: (_, dy) => ({ a: dy, b: dy }),
  wgsl: { call: (a, b) => `(${a} + ${b})` },
  onnx: { type: "Add", since: 7 },
  special: [
    ...rows([nan, 1, nan], [1, nan, nan], [inf, 1, inf], [inf, -inf, nan], [-0, 0, 0], [-0, -0, -0]),
    ...rows([3e38, 3e38, inf]),
  ],
  samples: { a: any, b: any },
});

export const sub: Binary = elementwise({
  name: "sub",
  doc: { summary: "a - b." },
  inputs: ["a", "b"],
  grows: [1, -1],
  half: "as_operands_but_streams",
  dtypes: numeric,
  reference: (a, b) => a! - b!,
  gradient: (_, dy) => ({ a: dy, b: neg(dy) }),
  wgsl: { call: (a, b) => `(${a} - ${b})` },
  onnx: { type: "Sub", since: 7 },
  special: [
    ...rows([nan, 1, nan], [1, nan, nan], [inf, 1, inf], [inf, inf, nan], [0, 0, 0], [-0, 0, -0]),
    ...rows([-3e38, 3e38, -inf]),
  ],
  samples: { a: any, b: any },
});

export const mul: Binary = elementwise({
  name: "mul",
  doc: { summary: "a * b." },
  inputs: ["a", "b"],
  half: "as_operands",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => a! * b!,
  gradient: ({ a, b }, dy) => ({ a: mul(dy, b), b: mul(dy, a) }),
  wgsl: { call: (a, b) => `(${a} * ${b})` },
  onnx: { type: "Mul", since: 7 },
  special: rows([nan, 0, nan], [0, nan, nan], [inf, 0, nan], [inf, -2, -inf], [0, -2, -0], [3e38, 10, inf]),
  samples: { a: any, b: any },
});

export const div: Binary = elementwise({
  name: "div",
  doc: { summary: "a / b, for floating-point dtypes; integers use idiv." },
  inputs: ["a", "b"],
  dtypes: floating,
  reference: (a, b) => a! / b!,
  gradient: ({ b }, dy, y) => ({ a: div(dy, b), b: neg(div(mul(dy, y), b)) }),
  wgsl: { call: (a, b) => `(${a} / ${b})` },
  onnx: { type: "Div", since: 7 },
  special: [
    ...rows([nan, 1, nan], [1, nan, nan], [1, 0, inf], [-1, 0, -inf], [1, -0, -inf], [0, 0, nan]),
    ...rows([inf, inf, nan], [1, inf, 0], [-1, inf, -0], [inf, 2, inf]),
  ],
  samples: { a: any, b: positive },
});

export const idiv: Binary = elementwise({
  name: "idiv",
  doc: { summary: "a / b rounded towards zero, for integers; a if b is 0, as in WGSL." },
  inputs: ["a", "b"],
  dtypes: ["i32", "u32"],
  reference: (a, b) => (b === 0 ? a! : Math.trunc(a! / b!) + 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} / ${b})` },
  onnx: { type: "Div", since: 7 },
  special: rows([7, 0, 7], [0, 0, 0], [-7, 2, -3]),
  samples: { a: { low: 0, high: 50, integer: true }, b: { low: 1, high: 7, integer: true } },
});

export const mod: Binary = elementwise({
  name: "mod",
  doc: { summary: "The remainder of a / b with the sign of a, for integers; 0 if b is 0, as in WGSL." },
  inputs: ["a", "b"],
  dtypes: ["i32", "u32"],
  reference: (a, b) => (b === 0 ? 0 : (a! % b!) + 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} % ${b})` },
  onnx: { type: "Mod", since: 10 },
  special: rows([7, 0, 0], [0, 0, 0], [-7, 2, -1]),
  samples: { a: { low: 0, high: 50, integer: true }, b: { low: 1, high: 7, integer: true } },
});

/** WGSL's max and min may drop a nan: detect it by its bits, which compilers cannot assume away. */
const keepingNan = (name: "max" | "min"): WgslText => ({
  call: (a, b) => `heddle_${name}(${a}, ${b})`,
  helper: `fn heddle_${name}(a: f32, b: f32) -> f32 {
  let kept = select(${name}(a, b), b, (bitcast<u32>(b) & 0x7fffffffu) > 0x7f800000u);
  return select(kept, a, (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u);
}`,
});

export const max: Binary = elementwise({
  name: "max",
  doc: {
    summary:
      "The larger of a and b; nan if either is nan; of 0 and -0, either one. The cotangent goes to the larger operand, to a on a tie.",
  },
  inputs: ["a", "b"],
  grows: [1, 1],
  half: "as_operands",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => Math.max(a!, b!),
  gradient: ({ a, b }, dy) => ({ a: select(ge(a, b), dy, 0), b: select(ge(a, b), 0, dy) }),
  wgsl: { call: (a, b) => `max(${a}, ${b})`, float: keepingNan("max") },
  onnx: { type: "Max", since: 13 },
  special: rows([nan, 1, nan], [1, nan, nan], [inf, 1, inf], [-inf, 1, 1], [-inf, -inf, -inf], [inf, nan, nan]),
  samples: { a: any, b: any },
});

export const min: Binary = elementwise({
  name: "min",
  doc: {
    summary:
      "The smaller of a and b; nan if either is nan; of 0 and -0, either one. The cotangent goes to the smaller operand, to a on a tie.",
  },
  inputs: ["a", "b"],
  grows: [1, 1],
  half: "as_operands",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => Math.min(a!, b!),
  gradient: ({ a, b }, dy) => ({ a: select(le(a, b), dy, 0), b: select(le(a, b), 0, dy) }),
  wgsl: { call: (a, b) => `min(${a}, ${b})`, float: keepingNan("min") },
  onnx: { type: "Min", since: 13 },
  special: rows([nan, 1, nan], [1, nan, nan], [inf, 1, 1], [-inf, 1, -inf], [inf, inf, inf], [-inf, nan, nan]),
  samples: { a: any, b: any },
});

export const neg: Unary = elementwise({
  name: "neg",
  doc: { summary: "-x." },
  inputs: ["x"],
  half: "as_operands",
  dtypes: ["f32", "f16", "i32"],
  reference: (x) => -x!,
  gradient: (_, dy) => ({ x: neg(dy) }),
  wgsl: { call: (x) => `(-${x})` },
  onnx: { type: "Neg", since: 13 },
  special: rows([nan, nan], [inf, -inf], [0, -0], [-0, 0]),
  samples: { x: any },
});

export const abs: Unary = elementwise({
  name: "abs",
  doc: { summary: "|x|." },
  inputs: ["x"],
  half: "as_operands",
  dtypes: ["f32", "f16", "i32"],
  reference: (x) => Math.abs(x!),
  gradient: ({ x }, dy) => ({ x: select(ge(x, 0), dy, neg(dy)) }),
  wgsl: { call: (x) => `abs(${x})` },
  onnx: { type: "Abs", since: 13 },
  special: rows([nan, nan], [-inf, inf], [-0, 0]),
  samples: { x: awayFromZero },
});

export const floor: Unary = elementwise({
  name: "floor",
  doc: { summary: "The largest integer not greater than x." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.floor(x!),
  flat: true,
  wgsl: { call: (x) => `floor(${x})` },
  onnx: { type: "Floor", since: 13 },
  special: rows([nan, nan], [inf, inf], [-inf, -inf], [-0, -0], [-0.5, -1]),
  samples: { x: any },
});

const nearestEven = (x: number): number => (Math.abs(x % 1) === 0.5 ? 2 * Math.round(x / 2) : Math.round(x));

const roundedRows = [
  ...rows([nan, nan], [inf, inf], [-inf, -inf], [-0, -0], [0.5, 0], [1.5, 2], [2.5, 2], [-0.5, -0], [-1.5, -2]),
  ...rows([-2.5, -2], [0.75, 1], [-0.75, -1]),
];

export const round: Unary = elementwise({
  name: "round",
  doc: {
    summary: "The nearest integer, the even one of two that are equally near, as IEEE 754's roundToIntegralTiesToEven.",
  },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => nearestEven(x!),
  flat: true,
  wgsl: { call: (x) => `round(${x})` },
  onnx: { type: "Round", since: 11 },
  special: roundedRows,
  samples: { x: any },
});

export const roundStraightThrough: Unary = elementwise({
  name: "round_straight_through",
  doc: {
    summary: "round(x), whose gradient is that of x: the straight-through estimator.",
    source: "Bengio et al. 2013, arXiv:1308.3432, section 4",
  },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => nearestEven(x!),
  gradient: (_, dy) => ({ x: dy }),
  estimated: true,
  decompose: ({ x }) => round(x),
  wgsl: { call: (x) => `round(${x})` },
  onnx: { type: "Round", since: 11 },
  special: roundedRows,
  samples: { x: any },
});
