/** An op added from outside: one record in one file. docs/adding-an-op.md walks through it. */
import { ops } from "../../compiler/index.ts";

const { add, div, elementwise, exp, log, mul, sub, tanh } = ops;

export const mish: ops.Unary = elementwise({
  name: "mish",
  doc: {
    summary: "x · tanh(log(1 + exp(x))).",
    source: "Misra 2019, arXiv:1908.08681, equation 1",
  },
  inputs: ["x"],
  dtypes: ["f32", "f16"],
  reference: (x) => x! * Math.tanh(Math.log1p(Math.exp(x!))),
  gradient: ({ x }, dy) => {
    const t = tanh(log(add(1, exp(x))));
    const sigmoid = div(exp(x), add(1, exp(x)));
    return { x: mul(dy, add(t, mul(mul(x, sigmoid), sub(1, mul(t, t))))) }; // t + x · σ(x) · (1 − t²)
  },
  decompose: ({ x }) => mul(x, tanh(log(add(1, exp(x))))),
  wgsl: {
    // tanh(log(1 + e)) = (e² + 2e) / (e² + 2e + 2): no logarithm, and e stays finite up to 40.
    call: (x) => `mish(${x})`,
    helper: `fn mish(x: f32) -> f32 {
  let e = exp(min(x, 40.0));
  let n = e * (e + 2.0);
  return x * select(n / (n + 2.0), 1.0, x > 20.0);
}`,
  },
  onnx: { type: "Mish", since: 18 },
  special: [
    [Number.NaN, Number.NaN],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
    [0, 0],
  ],
  samples: { x: { low: -6, high: 6 } },
  tolerance: { f32: { absolute: 1e-5, relative: 1e-4 } },
});
