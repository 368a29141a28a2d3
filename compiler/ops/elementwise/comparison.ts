/** Elementwise comparison, logic and selection. */
import type { Node } from "../../ir/node.ts";
import { type Binary, elementwise, inf, nan, rows, type Ternary, type Unary } from "../kinds.ts";
import { any, flag, numeric } from "./samples.ts";

const comparedPairs = rows([nan, nan], [nan, 1], [1, nan], [inf, inf], [-inf, inf], [inf, 1], [0, -0]);

function comparison(
  name: string,
  symbol: string,
  onnx: { type: string; since: number } | undefined,
  reference: (a: number, b: number) => boolean,
): Binary {
  return elementwise({
    name,
    doc: { summary: `a ${symbol} b.` },
    inputs: ["a", "b"],
    dtypes: numeric,
    result: "bool",
    reference: (a, b) => (reference(a!, b!) ? 1 : 0),
    flat: true,
    commutative: reference(0, 1) === reference(1, 0),
    ...(reference(0, 1) !== reference(1, 0) && { grows: reference(0, 1) ? ([-1, 1] as const) : ([1, -1] as const) }),
    ...(name === "ne" && { decompose: ({ a, b }: { a: Node; b: Node }) => not(eq(a, b)) }),
    // WGSL compiles to SPIR-V's ordered comparisons, where even != is false for nan: "ne" is !(a == b).
    wgsl: { call: (a, b) => (name === "ne" ? `(!(${a} == ${b}))` : `(${a} ${symbol} ${b})`) },
    ...(onnx && { onnx }),
    special: comparedPairs.map(([a, b]) => [a, b, reference(a, b) ? 1 : 0]),
    samples: { a: any, b: any },
  });
}

export const eq = comparison("eq", "==", { type: "Equal", since: 11 }, (a, b) => a === b);
export const ne = comparison("ne", "!=", undefined, (a, b) => a !== b);
export const lt = comparison("lt", "<", { type: "Less", since: 9 }, (a, b) => a < b);
export const le = comparison("le", "<=", { type: "LessOrEqual", since: 12 }, (a, b) => a <= b);
export const gt = comparison("gt", ">", { type: "Greater", since: 9 }, (a, b) => a > b);
export const ge = comparison("ge", ">=", { type: "GreaterOrEqual", since: 12 }, (a, b) => a >= b);

export const and: Binary = elementwise({
  name: "and",
  doc: { summary: "True where both are." },
  inputs: ["a", "b"],
  grows: [1, 1],
  commutative: true,
  dtypes: ["bool"],
  reference: (a, b) => (a && b ? 1 : 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} && ${b})` },
  onnx: { type: "And", since: 7 },
  special: [],
  samples: { a: flag, b: flag },
});

export const or: Binary = elementwise({
  name: "or",
  doc: { summary: "True where one of the two is." },
  inputs: ["a", "b"],
  grows: [1, 1],
  commutative: true,
  dtypes: ["bool"],
  reference: (a, b) => (a || b ? 1 : 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} || ${b})` },
  onnx: { type: "Or", since: 7 },
  special: [],
  samples: { a: flag, b: flag },
});

export const not: Unary = elementwise({
  name: "not",
  doc: { summary: "True where x is false." },
  inputs: ["x"],
  grows: [-1],
  dtypes: ["bool"],
  reference: (x) => (x ? 0 : 1),
  flat: true,
  wgsl: { call: (x) => `(!${x})` },
  onnx: { type: "Not", since: 1 },
  special: [],
  samples: { x: flag },
});

export const select: Ternary = elementwise({
  name: "select",
  doc: { summary: "a where the condition holds, else b." },
  inputs: ["condition", "a", "b"],
  half: "as_operands",
  dtypes: numeric,
  boolInputs: ["condition"],
  reference: (condition, a, b) => (condition ? a! : b!),
  gradient: ({ condition }, dy) => ({ a: select(condition, dy, 0), b: select(condition, 0, dy) }),
  wgsl: { call: (condition, a, b) => `select(${b}, ${a}, ${condition})` },
  onnx: { type: "Where", since: 9 },
  special: rows([1, nan, 1, nan], [0, nan, 1, 1], [1, inf, nan, inf], [0, inf, nan, nan], [1, -0, 0, -0]),
  samples: { condition: flag, a: any, b: any },
});
