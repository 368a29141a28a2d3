/** Activation functions. */
import type { SampleRange } from "../ir/op.ts";
import { add, exp, gt, mul, neg, select, sub, tanh } from "./elementwise.ts";
import { elementwise, inf, nan, rows, type Unary } from "./kinds.ts";
import { erfScalar } from "./scalar-functions.ts";

const floating = ["f32", "f16"] as const;
const wide: SampleRange = { low: -8, high: 8 };

export const erf: Unary = elementwise({
  name: "erf",
  doc: { summary: "The error function.", source: "Abramowitz and Stegun 1964, 7.1.26, for the device form" },
  inputs: ["x"],
  dtypes: floating,
  reference: (x) => erfScalar(x!),
  gradient: ({ x }, dy) => ({ x: mul(dy, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))) }),
  wgsl: {
    call: (x) => `heddle_erf(${x})`,
    helper: `fn heddle_erf(x: f32) -> f32 {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let e = 1.0 - p * exp(-a * a);
  // Below 0.5 the difference 1 - p cancels: the Taylor series is exact to f32 there.
  let x2 = x * x;
  let s = a * 1.1283791670955126 * (1.0 + x2 * (-0.33333333333 + x2 * (0.1 + x2 * (-0.0238095238 + x2 * (0.00462962963 - x2 * 0.00075757576)))));
  return select(-1.0, 1.0, x >= 0.0) * select(e, s, a < 0.5);
}`,
  },
  onnx: { type: "Erf", since: 13 },
  special: rows([nan, nan], [inf, 1], [-inf, -1], [0, 0], [-0, -0]),
  samples: { x: { low: -4, high: 4 } },
  tolerance: { f32: { absolute: 2e-6, relative: 1e-5 } },
});

export const sigmoid: Unary = elementwise({
  name: "sigmoid",
  doc: { summary: "1 / (1 + exp(-x))." },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => 1 / (1 + Math.exp(-x!)),
  gradient: (_, dy, y) => ({ x: mul(dy, mul(y, sub(1, y))) }),
  // WGSL may assume that infinities never occur, so the argument of exp is kept at or below 0.
  wgsl: {
    call: (x) => `heddle_sigmoid(${x})`,
    helper: `fn heddle_sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}`,
  },
  onnx: { type: "Sigmoid", since: 13 },
  special: rows([nan, nan], [inf, 1], [-inf, 0], [0, 0.5], [-200, 0]),
  samples: { x: wide },
});

export const relu: Unary = elementwise({
  name: "relu",
  doc: { summary: "max(x, 0)." },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => (x! < 0 ? 0 : x!),
  gradient: ({ x }, dy) => ({ x: select(gt(x, 0), dy, 0) }),
  // Compares bits, as WGSL's max may drop a nan: selects the negative numbers, minus infinity included.
  wgsl: {
    call: (x) => `heddle_relu(${x})`,
    helper: `fn heddle_relu(x: f32) -> f32 { return select(x, 0.0, bitcast<u32>(x) - 0x80000001u < 0x7f800000u); }`,
  },
  onnx: { type: "Relu", since: 14 },
  special: rows([nan, nan], [inf, inf], [-inf, 0], [0, 0], [-0, -0]),
  samples: { x: { low: -3, high: 3, avoid: [0] } },
});

const gelu: Unary = elementwise({
  name: "gelu",
  doc: {
    summary: "x · Φ(x) with the exact normal distribution, through erf.",
    source: "Hendrycks, Gimpel 2016, arXiv:1606.08415",
  },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => 0.5 * x! * (1 + erfScalar(x! / Math.SQRT2)),
  gradient: ({ x }, dy) => {
    const cdf = mul(0.5, add(1, erf(mul(x, Math.SQRT1_2))));
    const pdf = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return { x: mul(dy, add(cdf, mul(x, pdf))) }; // Φ(x) + x · φ(x)
  },
  decompose: ({ x }) => mul(mul(x, 0.5), add(1, erf(mul(x, Math.SQRT1_2)))),
  wgsl: {
    call: (x) => `heddle_gelu(${x})`,
    helper: `fn heddle_gelu(x: f32) -> f32 {
  let z = x * 0.7071067811865476;
  let a = abs(z);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let q = p * exp(-a * a); // erfc(|z|), which keeps its precision in the negative tail
  return 0.5 * x * select(q, 2.0 - q, x >= 0.0);
}`,
  },
  onnx: { type: "Gelu", since: 20 },
  special: rows([nan, nan], [inf, inf], [-inf, nan], [0, 0], [-0, -0]),
  samples: { x: wide },
  tolerance: { f32: { absolute: 2e-6, relative: 1e-5 } },
});

const geluTanh: Unary = elementwise({
  name: "gelu_tanh",
  doc: {
    summary: "The tanh approximation of gelu.",
    source: "Hendrycks, Gimpel 2016, arXiv:1606.08415, section 2",
  },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => 0.5 * x! * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x! + 0.044715 * x! ** 3))),
  gradient: ({ x }, dy) => {
    const c = Math.sqrt(2 / Math.PI);
    const t = tanh(mul(c, add(x, mul(0.044715, mul(x, mul(x, x))))));
    const slope = mul(c, add(1, mul(3 * 0.044715, mul(x, x))));
    return { x: mul(dy, mul(0.5, add(add(1, t), mul(x, mul(sub(1, mul(t, t)), slope))))) };
  },
  decompose: ({ x }) =>
    mul(mul(0.5, x), add(1, tanh(mul(Math.sqrt(2 / Math.PI), add(x, mul(0.044715, mul(x, mul(x, x)))))))),
  wgsl: {
    call: (x) => `heddle_gelu_tanh(${x})`,
    helper: `fn heddle_gelu_tanh(x: f32) -> f32 {
  return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * (x + 0.044715 * x * x * x), -15.0, 15.0)));
}`,
  },
  special: rows([nan, nan], [inf, inf], [-inf, nan], [0, 0], [-0, -0]),
  samples: { x: wide },
  tolerance: { f32: { absolute: 1e-5, relative: 1e-4 } },
});

export const quickGelu: Unary = elementwise({
  name: "quick_gelu",
  doc: { summary: "x · σ(1.702 x), as CLIP uses.", source: "Radford et al. 2021, released code" },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => x! / (1 + Math.exp(-1.702 * x!)),
  gradient: ({ x }, dy) => {
    const s = sigmoid(mul(x, 1.702));
    return { x: mul(dy, mul(s, add(1, mul(mul(x, 1.702), sub(1, s))))) };
  },
  decompose: ({ x }) => mul(x, sigmoid(mul(x, 1.702))),
  wgsl: {
    call: (x) => `heddle_quick_gelu(${x})`,
    helper: `fn heddle_quick_gelu(x: f32) -> f32 {
  let e = exp(-abs(1.702 * x));
  return x * select(e, 1.0, x >= 0.0) / (1.0 + e);
}`,
  },
  special: rows([nan, nan], [inf, inf], [-inf, nan], [0, 0], [-0, -0]),
  samples: { x: wide },
});

export const silu: Unary = elementwise({
  name: "silu",
  doc: {
    summary: "x · σ(x), the sigmoid-weighted linear unit (swish with β = 1).",
    source: "Elfwing, Uchibe, Doya 2017, arXiv:1702.03118, section 2",
  },
  inputs: ["x"],
  half: "safe",
  dtypes: floating,
  reference: (x) => x! / (1 + Math.exp(-x!)),
  gradient: ({ x }, dy) => {
    const s = sigmoid(x);
    return { x: mul(dy, mul(s, add(1, mul(x, sub(1, s))))) }; // σ(x) · (1 + x · (1 − σ(x)))
  },
  decompose: ({ x }) => mul(x, sigmoid(x)),
  wgsl: {
    call: (x) => `heddle_silu(${x})`,
    helper: `fn heddle_silu(x: f32) -> f32 {
  let e = exp(-abs(x));
  return x * select(e, 1.0, x >= 0.0) / (1.0 + e);
}`,
  },
  onnx: { type: "Swish", since: 24 },
  special: rows([nan, nan], [inf, inf], [-inf, nan], [0, 0], [-0, -0]),
  samples: { x: wide },
});

export { gelu, geluTanh };
