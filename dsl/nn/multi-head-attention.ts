/** Multi-head attention with its projections. Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2. */
import { type Distribution, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, attention, rename, type Tensor, typed } from "../tensor.ts";
import { axisOf } from "./axes.ts";
import { causalMask } from "./cache.ts";
import { type LinearOptions, linear } from "./linear.ts";

/** Token embeddings: f32 [batch, token, embed]. */
export type Tokens = Tensor<"batch" | "token" | "embed">;

/** Options of `multiHeadAttention`; `heads` is required. */
export interface MultiHeadAttentionOptions extends LinearOptions {
  /** Query heads. */
  readonly heads: number;
  /**
   * Key/value heads, each shared by `heads / keyHeads` query heads: grouped-query attention (Ainslie et al. 2023,
   * arXiv:2305.13245); default as many as `heads`. If fewer, queries have the axis `group` after `heads`.
   */
  readonly keyHeads?: number;
  /** Size of a head; default the width of the tokens divided by `heads`. */
  readonly headDim?: number;
  /** The tokens attended to, of any width and number (cross-attention); default x itself. */
  readonly seen?: Tokens;
  /** Mask, true where a token may attend to a key: [key_token], with `batch` or `token` or both; default no mask. */
  readonly visible?: AnyTensor;
  /**
   * Added to the scaled logits: a tensor with some of their axes `batch`, `token`, `heads` (with `keyHeads`, also
   * `group`) and `key_token`, such as learned relative positions, or an expression of positions, such as ALiBi's.
   */
  readonly logitBias?: AnyTensor;
  /** Causal mask, for self-attention only. Default false. */
  readonly causal?: boolean;
  /**
   * Applied to queries and keys before their product, such as a norm or rotary positions: x [batch, token, heads,
   * head_dim].
   */
  readonly turn?: (x: AnyTensor, which: "q" | "k") => AnyTensor;
  /** Applied to the heads' outputs before `out`, such as EVA-02's norm: x [batch, token, heads, head_dim]. */
  readonly inner?: (x: AnyTensor, over: readonly Axis<"heads" | "group" | "head_dim">[]) => AnyTensor;
  /** False leaves out the bias of keys, which softmax cancels anyway; default `bias`. */
  readonly keyBias?: boolean;
  /** Initializer of the weight of `out`; default `init`. */
  readonly outInit?: Distribution;
}

/**
 * Multi-head attention with its projections. x [batch, token, embed] -> as x. Parameters in the scopes `q`, `k`, `v`
 * (`weight` [heads, head_dim, embed], `bias` [heads, head_dim]) and `out` (`weight` [embed, heads, head_dim], `bias`
 * [embed]). Throws UsageError if `heads` does not divide the width, or `keyHeads` does not divide `heads`, and for a
 * `logitBias` with an axis that the logits do not have.
 */
export function multiHeadAttention(p: Params, x: Tokens, options: MultiHeadAttentionOptions): Tokens {
  checkOptions("multiHeadAttention", options, {
    heads: true,
    keyHeads: true,
    headDim: true,
    seen: true,
    visible: true,
    logitBias: true,
    causal: true,
    turn: true,
    inner: true,
    keyBias: true,
    outInit: true,
    bias: true,
    init: true,
  });
  const { heads: count, keyHeads = count, seen = x, causal = false, turn = (y) => y, inner = (y) => y } = options;
  const { logitBias } = options;
  const embed = axisOf(x, "embed");
  const headDim = options.headDim ?? (embed.size as number) / count;
  if (!Number.isInteger(headDim)) throw new UsageError(`width ${embed.size} is not divisible by ${count} heads`);
  const { bias = true, keyBias = bias, init, outInit = init } = options;
  const how: LinearOptions = { bias, ...(init && { init }) };
  if (!(count % keyHeads === 0))
    throw new UsageError(`${count} query heads are not divisible by ${keyHeads} key and value heads`);
  const [heads, each] = [axis("heads", keyHeads), axis("head_dim", headDim)];
  const ofKeys: readonly Axis<"heads" | "group" | "head_dim">[] = [heads, each];
  const ofQueries = keyHeads === count ? ofKeys : [heads, axis("group", count / keyHeads), each];
  const project = (name: string, y: Tokens, own: LinearOptions = how, to = ofKeys): AnyTensor =>
    linear(p.scope(name), y, [axisOf(y, "embed")], to, own);
  const token = axisOf(seen, "token");
  const key: Axis<"key_token"> = axis("key_token", token.size);
  const keys = project("k", seen, { ...how, bias: keyBias });
  const [k, v] = [rename(turn(keys, "k"), token, key), rename(project("v", seen), token, key)];
  const mask = causal ? causalMask(axisOf(x, "token"), key) : options.visible;
  if (causal && options.visible)
    throw new UsageError("causal cannot be combined with a mask: make the mask itself causal");
  const queries = turn(project("q", x, how, ofQueries), "q");
  if (logitBias) requireLogitAxes(logitBias, [...queries.type.axes.filter((a) => a.name !== each.name), key]);
  const axes = { dot: each, over: key, ...(logitBias && { bias: logitBias }) };
  const mixed: AnyTensor = attention(queries, k, v, axes, mask as AnyTensor);
  const out: LinearOptions = { bias, ...(outInit && { init: outInit }) };
  return typed(linear<string, string, string>(p.scope("out"), inner(mixed, ofQueries), ofQueries, [embed], out));
}

/** Throws UsageError for a bias with another axis: `attention` would make that an axis of the result. */
function requireLogitAxes(bias: AnyTensor, logits: readonly Axis[]): void {
  const other = bias.type.axes.find((a) => !logits.some((l) => l.name === a.name));
  if (!other) return;
  const names = logits.map((a) => a.name).join(", ");
  throw new UsageError(
    `logitBias of multiHeadAttention has the axis "${other.name}", but the logits have only [${names}]`,
  );
}
