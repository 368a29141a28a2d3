/** Arithmetic, comparison, selection and conversion, element by element. */
import { build } from "../ir/build.ts";
import type { DType } from "../ir/dtype.ts";
import { dtypes } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import type { SampleRange } from "../ir/op.ts";
import { tensorType } from "../ir/type.ts";
import { type Binary, type Builder, elementwise, record, type Ternary, type Unary } from "./kinds.ts";

const numeric = ["f32", "f16", "i32", "u32"] as const;
const floating = ["f32", "f16"] as const;
const any: SampleRange = { low: -3, high: 3 };
const positive: SampleRange = { low: 0.2, high: 3 };
const awayFromZero: SampleRange = { low: -3, high: 3, avoid: [0] };

export const add: Binary = elementwise({
  name: "add",
  doc: { summary: "a + b." },
  inputs: ["a", "b"],
  half: "as_operands_but_streams",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => a! + b!,
  gradient: (_, dy) => ({ a: dy, b: dy }),
  wgsl: { call: (a, b) => `(${a} + ${b})` },
  onnx: { type: "Add", since: 7 },
  samples: { a: any, b: any },
});

export const sub: Binary = elementwise({
  name: "sub",
  doc: { summary: "a - b." },
  inputs: ["a", "b"],
  half: "as_operands_but_streams",
  dtypes: numeric,
  reference: (a, b) => a! - b!,
  gradient: (_, dy) => ({ a: dy, b: neg(dy) }),
  wgsl: { call: (a, b) => `(${a} - ${b})` },
  onnx: { type: "Sub", since: 7 },
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
  samples: { a: any, b: any },
});

export const div: Binary = elementwise({
  name: "div",
  doc: { summary: "a / b; for floating dtypes. Integers divide with idiv." },
  inputs: ["a", "b"],
  dtypes: floating,
  reference: (a, b) => a! / b!,
  gradient: ({ b }, dy, y) => ({ a: div(dy, b), b: neg(div(mul(dy, y), b)) }),
  wgsl: { call: (a, b) => `(${a} / ${b})` },
  onnx: { type: "Div", since: 7 },
  samples: { a: any, b: positive },
});

export const idiv: Binary = elementwise({
  name: "idiv",
  doc: { summary: "a / b rounded towards zero, for integers." },
  inputs: ["a", "b"],
  dtypes: ["i32", "u32"],
  reference: (a, b) => Math.trunc(a! / b!),
  flat: true,
  wgsl: { call: (a, b) => `(${a} / ${b})` },
  onnx: { type: "Div", since: 7 },
  samples: { a: { low: 0, high: 50, integer: true }, b: { low: 1, high: 7, integer: true } },
});

export const mod: Binary = elementwise({
  name: "mod",
  doc: { summary: "The remainder of a / b with the sign of a, for integers." },
  inputs: ["a", "b"],
  dtypes: ["i32", "u32"],
  reference: (a, b) => a! % b!,
  flat: true,
  wgsl: { call: (a, b) => `(${a} % ${b})` },
  onnx: { type: "Mod", since: 10 },
  samples: { a: { low: 0, high: 50, integer: true }, b: { low: 1, high: 7, integer: true } },
});

export const pow: Binary = elementwise({
  name: "pow",
  doc: { summary: "a to the power b, for a > 0." },
  inputs: ["a", "b"],
  dtypes: floating,
  reference: (a, b) => a! ** b!,
  gradient: ({ a, b }, dy, y) => ({ a: mul(dy, mul(b, pow(a, sub(b, 1)))), b: mul(dy, mul(y, log(a))) }),
  wgsl: { call: (a, b) => `pow(${a}, ${b})` },
  onnx: { type: "Pow", since: 13 },
  samples: { a: positive, b: any },
  tolerance: { f32: { absolute: 1e-5, relative: 1e-4 } },
});

export const max: Binary = elementwise({
  name: "max",
  doc: { summary: "The larger of a and b; the cotangent goes to the larger, to a on a tie." },
  inputs: ["a", "b"],
  half: "as_operands",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => Math.max(a!, b!),
  gradient: ({ a, b }, dy) => ({ a: select(ge(a, b), dy, 0), b: select(ge(a, b), 0, dy) }),
  wgsl: { call: (a, b) => `max(${a}, ${b})` },
  onnx: { type: "Max", since: 13 },
  samples: { a: any, b: any },
});

export const min: Binary = elementwise({
  name: "min",
  doc: { summary: "The smaller of a and b; the cotangent goes to the smaller, to a on a tie." },
  inputs: ["a", "b"],
  half: "as_operands",
  commutative: true,
  dtypes: numeric,
  reference: (a, b) => Math.min(a!, b!),
  gradient: ({ a, b }, dy) => ({ a: select(le(a, b), dy, 0), b: select(le(a, b), 0, dy) }),
  wgsl: { call: (a, b) => `min(${a}, ${b})` },
  onnx: { type: "Min", since: 13 },
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
  samples: { x: awayFromZero },
});

export const exp: Unary = elementwise({
  name: "exp",
  doc: { summary: "e to the power x." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.exp(x!),
  gradient: (_, dy, y) => ({ x: mul(dy, y) }),
  wgsl: { call: (x) => `exp(${x})` },
  onnx: { type: "Exp", since: 13 },
  samples: { x: any },
});

export const log: Unary = elementwise({
  name: "log",
  doc: { summary: "The natural logarithm." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.log(x!),
  gradient: ({ x }, dy) => ({ x: div(dy, x) }),
  wgsl: { call: (x) => `log(${x})` },
  onnx: { type: "Log", since: 13 },
  samples: { x: positive },
});

export const sqrt: Unary = elementwise({
  name: "sqrt",
  doc: { summary: "The square root." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.sqrt(x!),
  gradient: (_, dy, y) => ({ x: div(mul(dy, 0.5), y) }),
  wgsl: { call: (x) => `sqrt(${x})` },
  onnx: { type: "Sqrt", since: 13 },
  samples: { x: positive },
});

export const rsqrt: Unary = elementwise({
  name: "rsqrt",
  doc: { summary: "1 / sqrt(x)." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => 1 / Math.sqrt(x!),
  gradient: ({ x }, dy, y) => ({ x: div(mul(mul(dy, -0.5), y), x) }),
  decompose: ({ x }) => div(1, sqrt(x)),
  wgsl: { call: (x) => `inverseSqrt(${x})` },
  samples: { x: positive },
});

export const sin: Unary = elementwise({
  name: "sin",
  doc: { summary: "The sine of an angle in radians." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.sin(x!),
  gradient: ({ x }, dy) => ({ x: mul(dy, cos(x)) }),
  // WGSL grants its own sin an error of 2^-11, and that within [-pi, pi] only, while a rotary angle reaches thousands:
  // reduce to a quarter turn in three steps (Cody, Waite 1980), then the polynomials of Cephes.
  wgsl: {
    call: (x) => `heddle_sin(${x})`,
    helper: `fn heddle_sin(x: f32) -> f32 {
  let q = round(x * 0.6366197723675814);
  let r = ((x - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.549789948768648e-8;
  let r2 = r * r;
  let s = r + r * r2 * (-0.16666654611 + r2 * (8.3321608736e-3 - 1.9515295891e-4 * r2));
  let c = 1.0 - 0.5 * r2 + r2 * r2 * (0.04166664568298827 + r2 * (-1.388731625493765e-3 + 2.443315711809948e-5 * r2));
  let quarter = (i32(q)) & 3;
  let v = select(s, c, (quarter & 1) == 1);
  return select(v, -v, quarter >= 2);
}`,
  },
  onnx: { type: "Sin", since: 7 },
  samples: { x: any },
  // WGSL grants sin and cos an absolute error of 2^-11 within [-pi, pi] (section 15.7.4).
  tolerance: { f32: { absolute: 2e-6, relative: 1e-5 } },
});

export const cos: Unary = elementwise({
  name: "cos",
  doc: { summary: "The cosine of an angle in radians." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.cos(x!),
  gradient: ({ x }, dy) => ({ x: neg(mul(dy, sin(x))) }),
  // WGSL grants its own cos an error of 2^-11, and that within [-pi, pi] only, while a rotary angle reaches thousands:
  // reduce to a quarter turn in three steps (Cody, Waite 1980), then the polynomials of Cephes.
  wgsl: {
    call: (x) => `heddle_cos(${x})`,
    helper: `fn heddle_cos(x: f32) -> f32 {
  let q = round(x * 0.6366197723675814);
  let r = ((x - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.549789948768648e-8;
  let r2 = r * r;
  let s = r + r * r2 * (-0.16666654611 + r2 * (8.3321608736e-3 - 1.9515295891e-4 * r2));
  let c = 1.0 - 0.5 * r2 + r2 * r2 * (0.04166664568298827 + r2 * (-1.388731625493765e-3 + 2.443315711809948e-5 * r2));
  let quarter = (i32(q) + 1) & 3;
  let v = select(s, c, (quarter & 1) == 1);
  return select(v, -v, quarter >= 2);
}`,
  },
  onnx: { type: "Cos", since: 7 },
  samples: { x: any },
  tolerance: { f32: { absolute: 2e-6, relative: 1e-5 } },
});

export const tanh: Unary = elementwise({
  name: "tanh",
  doc: { summary: "The hyperbolic tangent." },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => Math.tanh(x!),
  gradient: (_, dy, y) => ({ x: mul(dy, sub(1, mul(y, y))) }),
  // Some drivers overflow inside tanh for large arguments; beyond 15 an f32 tanh is 1.
  wgsl: { call: (x) => `tanh(clamp(${x}, -15.0, 15.0))` },
  onnx: { type: "Tanh", since: 13 },
  samples: { x: any },
  tolerance: { f32: { absolute: 1e-5, relative: 1e-4 } },
});

export const floor: Unary = elementwise({
  name: "floor",
  doc: { summary: "The largest integer not above x." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.floor(x!),
  flat: true,
  wgsl: { call: (x) => `floor(${x})` },
  onnx: { type: "Floor", since: 13 },
  samples: { x: any },
});

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
    ...(name === "ne" && { decompose: ({ a, b }: { a: Node; b: Node }) => not(eq(a, b)) }),
    wgsl: { call: (a, b) => `(${a} ${symbol} ${b})` },
    ...(onnx && { onnx }),
    samples: { a: any, b: any },
  });
}

export const eq = comparison("eq", "==", { type: "Equal", since: 11 }, (a, b) => a === b);
export const ne = comparison("ne", "!=", undefined, (a, b) => a !== b);
export const lt = comparison("lt", "<", { type: "Less", since: 9 }, (a, b) => a < b);
export const le = comparison("le", "<=", { type: "LessOrEqual", since: 12 }, (a, b) => a <= b);
export const gt = comparison("gt", ">", { type: "Greater", since: 9 }, (a, b) => a > b);
export const ge = comparison("ge", ">=", { type: "GreaterOrEqual", since: 12 }, (a, b) => a >= b);

const flag: SampleRange = { low: 0, high: 1, integer: true };

export const and: Binary = elementwise({
  name: "and",
  doc: { summary: "True where both are." },
  inputs: ["a", "b"],
  commutative: true,
  dtypes: ["bool"],
  reference: (a, b) => (a && b ? 1 : 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} && ${b})` },
  onnx: { type: "And", since: 7 },
  samples: { a: flag, b: flag },
});

export const or: Binary = elementwise({
  name: "or",
  doc: { summary: "True where one of the two is." },
  inputs: ["a", "b"],
  commutative: true,
  dtypes: ["bool"],
  reference: (a, b) => (a || b ? 1 : 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} || ${b})` },
  onnx: { type: "Or", since: 7 },
  samples: { a: flag, b: flag },
});

export const not: Unary = elementwise({
  name: "not",
  doc: { summary: "True where x is false." },
  inputs: ["x"],
  dtypes: ["bool"],
  reference: (x) => (x ? 0 : 1),
  flat: true,
  wgsl: { call: (x) => `(!${x})` },
  onnx: { type: "Not", since: 1 },
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
  samples: { condition: flag, a: any, b: any },
});

const castRecord = record({
  name: "cast",
  kind: "elementwise",
  doc: {
    summary: "The same values in another dtype: floats to integers truncate, bool is 0 or 1, anything but 0 is true.",
  },
  operands: ["x"],
  attrs: { to: { kind: "dtype" } },
  constraints: { C1: `the target is one of ${dtypes.join(", ")}` },
  infer: ([x], attrs) => tensorType(attrs.to as DType, x!.axes),
  reference: ([x], attrs) => x!.data.map((v) => castValue(v, attrs.to as DType)),
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
});

/** The value a cast gives in the interpreter, where f16 keeps float64's precision: rounding is the executors' business. */
export function castValue(v: number, to: DType): number {
  if (to === "bool") return v !== 0 ? 1 : 0;
  if (to === "i32") return Math.trunc(v) | 0;
  if (to === "u32") return Math.trunc(v) >>> 0;
  return v;
}

/** x in another dtype; x itself where it already has it. */
export const cast: Builder<(x: Node, to: DType) => Node> = Object.assign(
  (x: Node, to: DType) => (x.type.dtype === to ? x : build("cast", [x], { to })),
  { record: castRecord },
);
