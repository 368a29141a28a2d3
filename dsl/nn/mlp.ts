/** Feed-forward blocks. */
import type { Axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, gelu, mul, silu, type Tensor, typed } from "../tensor.ts";
import { type LinearOptions, linear } from "./linear.ts";

/** fc2(gelu(fc1 x)) with the exact GELU. x [..., embed] -> [..., embed]. */
export const geluMlp = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
  options: LinearOptions = {},
): Tensor<A> => {
  const inner: AnyTensor = gelu(linear(p.scope("fc1"), x, [embed], [hidden], options));
  return typed<A>(linear(p.scope("fc2"), inner, [hidden], [embed], options));
};

/** down(silu(gate x) · up x), without biases. Shazeer 2020, arXiv:2002.05202, equation 6. */
export const swiGlu = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
): Tensor<A> => {
  const gate = linear(p.scope("gate_proj"), x, [embed], [hidden], { bias: false });
  const up = linear(p.scope("up_proj"), x, [embed], [hidden], { bias: false });
  const inner: AnyTensor = mul(silu(gate), up);
  return typed<A>(linear(p.scope("down_proj"), inner, [hidden], [embed], { bias: false }));
};
