/** Arithmetic, comparison, selection and conversion, element by element. */
import { build } from "../ir/build.ts";
import { castValue, type DType, dtypes } from "../ir/dtype.ts";
import type { Node } from "../ir/node.ts";
import type { SampleRange, SpecialValue, WgslText } from "../ir/op.ts";
import { tensorType } from "../ir/type.ts";
import { type Binary, type Builder, elementwise, inf, nan, record, rows, type Ternary, type Unary } from "./kinds.ts";
import { powScalar } from "./scalar-functions.ts";

const numeric = ["f32", "f16", "i32", "u32"] as const;
const floating = ["f32", "f16"] as const;
const any: SampleRange = { low: -3, high: 3 };
const positive: SampleRange = { low: 0.2, high: 3 };
const awayFromZero: SampleRange = { low: -3, high: 3, avoid: [0] };

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
  doc: { summary: "a / b; for floating dtypes. Integers divide with idiv." },
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
  doc: { summary: "a / b rounded towards zero, for integers; a where b is 0, as in WGSL." },
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
  doc: { summary: "The remainder of a / b with the sign of a, for integers; 0 where b is 0, as in WGSL." },
  inputs: ["a", "b"],
  dtypes: ["i32", "u32"],
  reference: (a, b) => (b === 0 ? 0 : (a! % b!) + 0),
  flat: true,
  wgsl: { call: (a, b) => `(${a} % ${b})` },
  onnx: { type: "Mod", since: 10 },
  special: rows([7, 0, 0], [0, 0, 0], [-7, 2, -1]),
  samples: { a: { low: 0, high: 50, integer: true }, b: { low: 1, high: 7, integer: true } },
});

export const pow: Binary = elementwise({
  name: "pow",
  doc: {
    summary:
      "a to the power b. Of a negative a the sign is exact where b is whole, and the result is nan where it is not; a cotangent of b is 0 where a is 0 and b is not below, and nan where a is negative.",
    source: "IEEE 754-2019, section 9.2.1; the gradients as in PyTorch",
  },
  inputs: ["a", "b"],
  dtypes: floating,
  reference: (a, b) => powScalar(a!, b!),
  gradient: ({ a, b }, dy, y) => ({
    a: select(eq(b, 0), 0, mul(dy, mul(b, pow(a, sub(b, 1))))), // b · aᵇ⁻¹, and 0 · inf is not meant
    b: select(and(eq(a, 0), ge(b, 0)), 0, mul(dy, mul(y, log(a)))), // aᵇ · ln a
  }),
  // WGSL leaves pow of a negative number open, and adapters take log2(0) for a finite number. Those cases are told by
  // bits, which no compiler may assume away as it may infinities and nan. No `&&` and `||`, which are branches: several
  // calls in one expression with them take SwiftShader's compiler forever.
  wgsl: {
    call: (a, b) => `heddle_pow(${a}, ${b})`,
    helper: `fn heddle_pow(a: f32, b: f32) -> f32 {
  let inf = 0x7f800000u;
  let one = 0x3f800000u;
  let negative = bitcast<u32>(a) & 0x80000000u;
  let x = bitcast<u32>(a) & 0x7fffffffu;
  let y = bitcast<u32>(b) & 0x7fffffffu;
  let whole = floor(b) == b;
  let odd = whole & (abs(b) < 16777216.0) & ((i32(b) & 1) != 0);
  let grows = (x > one) == (bitcast<u32>(b) == y);
  var power = select(bitcast<u32>(pow(abs(a), b)), select(0u, inf, grows), (x == 0u) | (x == inf) | (y == inf));
  power |= select(0u, negative, odd);
  let open = (negative != 0u) & (x != 0u) & (x != inf) & !whole;
  power = select(power, 0x7fc00000u, open | (x > inf) | (y > inf));
  return bitcast<f32>(select(power, one, (y == 0u) | (bitcast<u32>(a) == one) | ((x == one) & (y == inf))));
}`,
  },
  onnx: { type: "Pow", since: 13 },
  special: [
    ...rows([nan, 0, 1], [nan, 1, nan], [1, nan, 1], [2, nan, nan], [0, 0, 1], [0, 2, 0], [-0, 3, -0]),
    ...rows([0, -1, inf], [-0, -1, -inf], [-0, -2, inf], [0, 0.5, 0], [-2, 3, -8], [-2, 2, 4], [-2, 0.5, nan]),
    ...rows([-inf, 3, -inf], [-inf, 2, inf], [-inf, 0.5, inf], [-inf, -1, -0], [inf, -1, 0], [0.5, inf, 0]),
    ...rows([0.5, -inf, inf], [-1, inf, 1], [-2, inf, inf], [10, 39, inf], [-10, 39, -inf], [10, -60, 0]),
  ],
  samples: { a: positive, b: any },
  tolerance: { f32: { absolute: 1e-5, relative: 1e-4 } },
});

/** WGSL's max and min may pass over a nan; its bits tell it, which no compiler may assume away. */
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
      "The larger of a and b, nan where one is nan, either zero of 0 and -0; the cotangent goes to the larger, to a on a tie.",
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
      "The smaller of a and b, nan where one is nan, either zero of 0 and -0; the cotangent goes to the smaller, to a on a tie.",
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

export const exp: Unary = elementwise({
  name: "exp",
  doc: { summary: "e to the power x." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.exp(x!),
  gradient: (_, dy, y) => ({ x: mul(dy, y) }),
  wgsl: {
    call: (x) => `heddle_exp(${x})`,
    helper: `fn heddle_exp(x: f32) -> f32 { return select(exp(x), x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u); }`,
  },
  onnx: { type: "Exp", since: 13 },
  special: rows([nan, nan], [inf, inf], [-inf, 0], [0, 1], [-0, 1], [100, inf], [-200, 0]),
  samples: { x: any },
});

/** exp(x) − 1 near 0, where the difference would cancel: the series up to x¹⁰ / 10!, by Horner's rule. */
const expm1Series = (x: Node): Node => {
  let sum: Node = add(mul(x, 1 / 10), 1);
  for (let n = 9; n >= 2; n--) sum = add(mul(sum, mul(x, 1 / n)), 1);
  return mul(x, sum);
};

export const expm1: Unary = elementwise({
  name: "expm1",
  doc: { summary: "e to the power x, less 1, which keeps its precision near 0." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.expm1(x!),
  gradient: (_, dy, y) => ({ x: mul(dy, add(y, 1)) }),
  decompose: ({ x }) => select(lt(abs(x), 0.5), expm1Series(x), sub(exp(x), 1)),
  wgsl: {
    call: (x) => `heddle_expm1(${x})`,
    helper: `fn heddle_expm1(x: f32) -> f32 {
  // The series up to x^8 / 8! is exact to f32 below a half.
  let s = x * (1.0 + x * (0.5 + x * (0.16666667 + x * (0.041666667 + x * (0.008333333 + x * (0.0013888889 + x * (0.00019841270 + x * 0.000024801587)))))));
  let y = select(exp(x) - 1.0, s, abs(x) < 0.5);
  return select(y, x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);
}`,
  },
  special: rows([nan, nan], [inf, inf], [-inf, -1], [0, 0], [-0, -0], [100, inf], [-200, -1]),
  samples: { x: any },
});

export const log: Unary = elementwise({
  name: "log",
  doc: { summary: "The natural logarithm." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.log(x!),
  gradient: ({ x }, dy) => ({ x: div(dy, x) }),
  // Adapters give finite numbers for the logarithms of 0 and below.
  wgsl: {
    call: (x) => `heddle_log(${x})`,
    helper: `fn heddle_log(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let finite = bits - 1u < 0x7f7fffffu; // above 0, and no infinity
  let size = bits & 0x7fffffffu;
  let other = select(select(0x7fc00000u, 0xff800000u, size == 0u), bits, bits == 0x7f800000u);
  return select(bitcast<f32>(other), log(x), finite);
}`,
  },
  onnx: { type: "Log", since: 13 },
  special: rows([nan, nan], [inf, inf], [-inf, nan], [-1, nan], [0, -inf], [-0, -inf], [1, 0]),
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
  special: rows([nan, nan], [inf, inf], [-inf, nan], [-1, nan], [0, 0], [-0, -0]),
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
  special: rows([nan, nan], [inf, 0], [-inf, nan], [-1, nan], [0, inf], [-0, -inf]),
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
  special: rows([nan, nan], [inf, nan], [-inf, nan], [0, 0], [-0, -0]),
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
  special: rows([nan, nan], [inf, nan], [-inf, nan], [0, 1], [-0, 1]),
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
  wgsl: {
    call: (x) => `heddle_tanh(${x})`,
    helper: `fn heddle_tanh(x: f32) -> f32 {
  return select(tanh(clamp(x, -15.0, 15.0)), x, (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u);
}`,
  },
  onnx: { type: "Tanh", since: 13 },
  special: rows([nan, nan], [inf, 1], [-inf, -1], [0, 0], [-0, -0]),
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
  special: rows([nan, nan], [inf, inf], [-inf, -inf], [-0, -0], [-0.5, -1]),
  samples: { x: any },
});

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
    // WGSL becomes SPIR-V's ordered comparisons, and nan is neither less nor greater nor equal, but not equal.
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

const flag: SampleRange = { low: 0, high: 1, integer: true };

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

/** x in another dtype; x itself where it already has it. */
export const cast: Builder<(x: Node, to: DType) => Node> = Object.assign(
  (x: Node, to: DType) => (x.type.dtype === to ? x : build("cast", [x], { to })),
  { record: castRecord },
);
