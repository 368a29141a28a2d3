/** Feed-forward blocks. */
import type { Distribution } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, gelu, mul, silu, type Tensor, typed } from "../tensor.ts";
import { type LinearOptions, linear } from "./linear.ts";

/** An elementwise function: `gelu`, `geluTanh`, `quickGelu`, `silu`, `relu`, or a custom one. */
export type Activation = (x: AnyTensor) => AnyTensor;

/** Options of `mlp`. */
export interface MlpOptions extends LinearOptions {
  /** Between the two layers; default the exact GELU. */
  readonly activation?: Activation;
  /** Initializer of the second layer's weight; default `init`. */
  readonly outInit?: Distribution;
}

const known = { activation: true, bias: true, init: true } as const;

/** fc2(activation(fc1 x)). x [..., embed] -> [..., embed]. */
export const mlp = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
  options: MlpOptions = {},
): Tensor<A> => {
  checkOptions("mlp", options, { ...known, outInit: true });
  const { activation = gelu as Activation, outInit, ...layer } = options;
  const inner: AnyTensor = activation(linear(p.scope("fc1"), x, [embed], [hidden], layer));
  return typed<A>(linear(p.scope("fc2"), inner, [hidden], [embed], { ...layer, ...(outInit && { init: outInit }) }));
};

/** fc2(gelu(fc1 x)) with the exact GELU: `mlp` without the choice of an activation. x [..., embed] -> [..., embed]. */
export const geluMlp = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
  options: Omit<MlpOptions, "activation"> = {},
): Tensor<A> => {
  checkOptions("geluMlp", options, { bias: true, init: true, outInit: true });
  return mlp(p, x, embed, hidden, options);
};

/** Options of `gatedMlp`. */
export interface GatedMlpOptions extends LinearOptions {
  /** The gate's activation; default SiLU, which makes it SwiGLU. */
  readonly activation?: Activation;
}

/**
 * down(activation(gate x) · up x), by default without biases. Shazeer 2020, arXiv:2002.05202. x [..., embed] -> [...,
 * embed].
 */
export const gatedMlp = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
  options: GatedMlpOptions = {},
): Tensor<A> => {
  checkOptions("gatedMlp", options, known);
  const { activation = silu as Activation, bias = false, ...layer } = options;
  const gate = linear(p.scope("gate_proj"), x, [embed], [hidden], { bias, ...layer });
  const up = linear(p.scope("up_proj"), x, [embed], [hidden], { bias, ...layer });
  const inner: AnyTensor = mul(activation(gate), up);
  return typed<A>(linear(p.scope("down_proj"), inner, [hidden], [embed], { bias, ...layer }));
};

/**
 * down(silu(gate x) · up x), by default without biases: `gatedMlp` without the choice of an activation. Shazeer 2020,
 * arXiv:2002.05202, equation 6. x [..., embed] -> [..., embed].
 */
export const swiGlu = <A extends string, E extends A, H extends string>(
  p: Params,
  x: Tensor<A>,
  embed: Axis<E>,
  hidden: Axis<H>,
  options: LinearOptions = {},
): Tensor<A> => {
  checkOptions("swiGlu", options, { bias: true, init: true });
  return gatedMlp(p, x, embed, hidden, options);
};
