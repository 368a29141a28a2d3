/** Multi-head attention with its projections. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. */
import { UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, attention, rename, type Tensor, typed } from "../tensor.ts";
import { axisOf } from "./axes.ts";
import { causalMask } from "./cache.ts";
import { type LinearOptions, linear } from "./linear.ts";

export type Tokens = Tensor<"batch" | "token" | "embed">;

export interface MultiHeadAttentionOptions extends LinearOptions {
  readonly heads: number;
  /** Elements of a head; default the width of the tokens over the heads. */
  readonly headDim?: number;
  /** What is attended to, of any width and number of tokens; default the tokens themselves. */
  readonly seen?: Tokens;
  /** True where a token may attend to a key: [key_token], with `batch` or `token` or both; default everything. */
  readonly visible?: AnyTensor;
  /** No token sees a later one. Only of tokens that attend to themselves. Default false. */
  readonly causal?: boolean;
  /** What queries and keys go through before they meet, such as a norm or rotary positions: x [batch, token, heads, head_dim]. */
  readonly turn?: (x: AnyTensor, which: "q" | "k") => AnyTensor;
}

/**
 * Each token's mixture of what is seen. x [batch, token, embed] -> as x. Parameters in the scopes `q`, `k`, `v` (`weight` [heads,
 * head_dim, embed], `bias` [heads, head_dim]) and `out` (`weight` [embed, heads, head_dim], `bias` [embed]). Throws UsageError
 * where the heads do not share the width evenly.
 */
export function multiHeadAttention(p: Params, x: Tokens, options: MultiHeadAttentionOptions): Tokens {
  checkOptions("multiHeadAttention", options, {
    heads: true,
    headDim: true,
    seen: true,
    visible: true,
    causal: true,
    turn: true,
    bias: true,
    init: true,
  });
  const { heads: count, seen = x, causal = false, turn = (y) => y, ...projection } = options;
  const embed = axisOf(x, "embed");
  const headDim = options.headDim ?? (embed.size as number) / count;
  if (!Number.isInteger(headDim))
    throw new UsageError(`a width of ${embed.size} cannot be shared by ${count} heads: make it a multiple`);
  const { bias, init } = projection;
  const how: LinearOptions = { ...(bias !== undefined && { bias }), ...(init && { init }) };
  const [heads, each] = [axis("heads", count), axis("head_dim", headDim)];
  const project = (name: string, y: Tokens): AnyTensor =>
    linear(p.scope(name), y, [axisOf(y, "embed")], [heads, each], how);
  const token = axisOf(seen, "token");
  const key: Axis<"key_token"> = axis("key_token", token.size);
  const [k, v] = [rename(turn(project("k", seen), "k"), token, key), rename(project("v", seen), token, key)];
  const mask = causal ? causalMask(axisOf(x, "token"), key) : options.visible;
  if (causal && options.visible) throw new UsageError("causal attention takes no mask besides: give one that is both");
  const mixed: AnyTensor = attention(turn(project("q", x), "q"), k, v, { dot: each, over: key }, mask as AnyTensor);
  return typed(linear<string, string, string>(p.scope("out"), mixed, [heads, each], [embed], how));
}
