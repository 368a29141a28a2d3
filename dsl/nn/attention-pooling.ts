/** Attention pooling: the mean token is the query over all tokens. */
import { UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, attention, mean, rename, type Tensor, typed } from "../tensor.ts";
import { linear } from "./linear.ts";
import { layerNorm } from "./norm.ts";

/**
 * InternVL's AttentionPoolingBlock: one query, the mean of the tokens; separate LayerNorms (ε 1e-5) for query, key and
 * value; no residual, no MLP. InternVL section 3.2; released code modeling_internvl.py.
 * x [batch, token, embed] -> [batch, out]
 */
export function attentionPooling<T extends string, E extends string, O extends string>(
  p: Params,
  x: Tensor<"batch" | T | E>,
  axes: { readonly token: Axis<T>; readonly embed: Axis<E>; readonly out: Axis<O>; readonly heads: number },
): Tensor<"batch" | O> {
  checkOptions("attentionPooling", axes, { token: true, embed: true, out: true, heads: true });
  const { token, embed, out } = axes;
  const width = embed.size as number;
  if (width % axes.heads !== 0) throw new UsageError(`width ${width} is not divisible by ${axes.heads} pooling heads`);
  const key = axis("key_token", token.size);
  const heads = axis("heads", axes.heads);
  const headDim = axis("head_dim", width / axes.heads);
  const tokens: AnyTensor = rename(x, token, key);
  const project = (name: string, y: AnyTensor): AnyTensor =>
    linear(p.scope(`cross_attn.${name}`), layerNorm(p.scope(`norm1_${name}`), y, [embed]), [embed], [heads, headDim]);
  const mixed: AnyTensor = attention(project("q", mean(x, token)), project("k", tokens), project("v", tokens), {
    dot: headDim,
    over: key,
  });
  return typed<"batch" | O>(linear(p.scope("cross_attn.proj"), mixed, [heads, headDim], [out]));
}
