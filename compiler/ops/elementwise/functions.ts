/** Elementwise powers, exponentials, logarithms, roots and trigonometry. */
import type { Node } from "../../ir/node.ts";
import type { WgslText } from "../../ir/op.ts";
import { type Binary, elementwise, inf, nan, rows, type Unary } from "../kinds.ts";
import { powScalar } from "../scalar-functions.ts";
import { abs, add, div, mul, neg, sub } from "./arithmetic.ts";
import { and, eq, ge, lt, select } from "./comparison.ts";
import { any, floating, positive } from "./samples.ts";

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
    a: select(eq(b, 0), 0, mul(dy, mul(b, pow(a, sub(b, 1))))), // b · aᵇ⁻¹; the select avoids 0 · inf
    b: select(and(eq(a, 0), ge(b, 0)), 0, mul(dy, mul(y, log(a)))), // aᵇ · ln a
  }),
  // WGSL leaves pow of a negative base undefined, and some adapters give a finite log2(0). Those cases are detected by
  // bits: compilers may assume that infinities and nan never occur. No `&&` and `||`, which branch: with several calls
  // in one expression, SwiftShader's compiler would take forever.
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

/** exp(x) − 1 near 0, where the subtraction would cancel: the series up to x¹⁰ / 10!, by Horner's rule. */
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
  // Some adapters give finite logarithms for numbers at or below 0.
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

/**
 * WGSL allows its built-in sin and cos an error of 2^-11, and bounds it only within [-pi, pi] (section 15.7.4), while
 * rotary angles reach thousands: reduce to a quarter turn in three steps (Cody, Waite 1980), then use the polynomials
 * of Cephes. A cosine is a sine one quarter turn ahead: `quarter` is the quadrant of x, plus 1 for cosine.
 */
const inQuarterTurns = (name: "sin" | "cos", quarter: string): WgslText => ({
  call: (x) => `heddle_${name}(${x})`,
  helper: `fn heddle_${name}(x: f32) -> f32 {
  let q = round(x * 0.6366197723675814);
  let r = ((x - q * 1.5703125) - q * 4.837512969970703e-4) - q * 7.549789948768648e-8;
  let r2 = r * r;
  let s = r + r * r2 * (-0.16666654611 + r2 * (8.3321608736e-3 - 1.9515295891e-4 * r2));
  let c = 1.0 - 0.5 * r2 + r2 * r2 * (0.04166664568298827 + r2 * (-1.388731625493765e-3 + 2.443315711809948e-5 * r2));
  let quarter = ${quarter} & 3;
  let v = select(s, c, (quarter & 1) == 1);
  return select(v, -v, quarter >= 2);
}`,
});

/** The error of the polynomials in f32. */
const trigonometricTolerance = { f32: { absolute: 2e-6, relative: 1e-5 } } as const;

export const sin: Unary = elementwise({
  name: "sin",
  doc: { summary: "The sine of an angle in radians." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.sin(x!),
  gradient: ({ x }, dy) => ({ x: mul(dy, cos(x)) }),
  wgsl: inQuarterTurns("sin", "(i32(q))"),
  onnx: { type: "Sin", since: 7 },
  special: rows([nan, nan], [inf, nan], [-inf, nan], [0, 0], [-0, -0]),
  samples: { x: any },
  tolerance: trigonometricTolerance,
});

export const cos: Unary = elementwise({
  name: "cos",
  doc: { summary: "The cosine of an angle in radians." },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => Math.cos(x!),
  gradient: ({ x }, dy) => ({ x: neg(mul(dy, sin(x))) }),
  wgsl: inQuarterTurns("cos", "(i32(q) + 1)"),
  onnx: { type: "Cos", since: 7 },
  special: rows([nan, nan], [inf, nan], [-inf, nan], [0, 1], [-0, 1]),
  samples: { x: any },
  tolerance: trigonometricTolerance,
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
