/**
 * A decoder's graphs in the form that runtimes know: names and shapes of inputs and outputs are those of ONNX decoders
 * (Hugging Face optimum, transformers.js). `input_ids`, `attention_mask`, `position_ids`, `past_key_values.N.key`,
 * `present.N.key`, `logits`; the numbers of new and of past tokens are symbolic.
 */
import { type Dim, symbol } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import {
  type AnyTensor,
  and,
  cast,
  contract,
  gt,
  input,
  iota,
  lt,
  ne,
  rename,
  slice,
  sub,
  type Tensor,
  transpose,
  typed,
} from "../tensor.ts";
import { axisOf, longer } from "./axes.ts";
import { causalMask } from "./cache.ts";

/** Cached keys or values of all tokens so far, for the key/value heads. */
export type Remembered = Tensor<"batch" | "heads" | "key_token" | "head_dim">;

/** One layer's KV cache: keys, as attention takes them, and values. */
export interface LayerMemory {
  readonly key: Remembered;
  readonly value: Remembered;
}

/** Positions and attention mask of tokens; the same for all layers. */
export interface TokenContext {
  /** i32 [token] or [batch, token], counted from 0 in each text. */
  readonly position: Tensor<"token"> | Tensor<"batch" | "token">;
  /** True where a token may attend to a key: not a later one, and not padding. */
  readonly visible: Tensor<"batch" | "token" | "key_token">;
  /** All keys: the past ones, then the given tokens. */
  readonly key: Axis<"key_token">;
  /**
   * Positions of the keys in their texts, i32 [batch, key_token], if padding may lie among them; default 0, 1, 2 ...
   */
  readonly keyPosition?: Tensor<"batch" | "key_token">;
}

/** The axes of a decoder's graphs, as `decoderInputs` and `presentOutputs` take them. */
export interface DecoderAxes {
  readonly batch: Axis<"batch">;
  readonly token: Axis<"token">;
  /** Heads of keys and values: fewer than query heads in grouped-query attention. */
  readonly heads: Axis<"heads">;
  readonly headDim: Axis<"head_dim">;
}

/** The axis `token` of a decoder's graphs: the tokens of a run, of the symbolic size `tokens`. */
export const newTokens = (): Axis<"token"> => axis("token", symbol("tokens"));

/** The inputs of a step or prefill graph. */
export interface DecoderInputs {
  /** `input_ids` i32 [batch, token] */
  readonly ids: Tensor<"batch" | "token">;
  /** `position_ids` i32 [batch, token], and `attention_mask` i32 [batch, key_token], which is 0 at padding. */
  readonly context: TokenContext;
  /** `past_key_values.N.key` and `.value` f32 [batch, heads, key_token, head_dim] of each layer; empty for prefill. */
  readonly past: readonly LayerMemory[];
}

/** Whose keys and values a cache holds: a decoder-only model's, or the decoder's own beside those of an encoder. */
export type CacheOf = "own" | "decoder";

/** The middle of the names of cached keys and values, as in `past_key_values.0.decoder.key`. */
const between = (of: CacheOf): string => (of === "own" ? "" : ".decoder");

/**
 * The inputs of a decoder with `layers` layers: "step" continues a past of any length, "beginning" is prefill. The
 * decoder of an encoder-decoder, `of` "decoder", has names such as `past_key_values.N.decoder.key`; see `crossInputs`.
 */
export function decoderInputs(
  a: DecoderAxes,
  layers: number,
  graph: "step" | "beginning",
  of: CacheOf = "own",
): DecoderInputs {
  const before: Dim = graph === "step" ? symbol("past") : 0;
  const key = longer(axis("key_token", a.token.size), before);
  const axes = [a.batch, a.heads, axis("key_token", before), a.headDim];
  const remembered = (i: number, what: string) =>
    input(`past_key_values.${i}${between(of)}.${what}`, "f32", axes) as Remembered;
  const mask = input("attention_mask", "i32", [a.batch, key]);
  return {
    ids: input("input_ids", "i32", [a.batch, a.token]),
    context: {
      position: input("position_ids", "i32", [a.batch, a.token]),
      visible: and<"token" | "key_token", "batch" | "key_token">(causalMask(a.token, key, before), gt(mask, 0)),
      key,
      keyPosition: positionsOf(mask, key),
    },
    past:
      graph === "step"
        ? Array.from({ length: layers }, (_, i) => ({ key: remembered(i, "key"), value: remembered(i, "value") }))
        : [],
  };
}

/** How many keys of its text come before each: mask i32 [batch, key_token], 0 or 1 -> i32, as the mask. */
function positionsOf(mask: Tensor<"batch" | "key_token">, key: Axis<"key_token">): Tensor<"batch" | "key_token"> {
  const other = axis("other_key", key.size);
  const before = cast(lt(iota(other), iota(key)), "f32");
  return cast(contract(cast(rename(mask, key, other), "f32"), before, other), "i32");
}

/**
 * How many tokens before the token a key is in its text: 0 for its own key, negative for later ones. Sliding windows
 * and relative positions are made of it, for keys that `visible` shows: `lt(keyDistance(context), 4096)`. Indices of
 * keys do not tell it, because padding and free slots of the cache lie among them. -> i32 [token, key_token], with or
 * without batch
 */
export function keyDistance({ position, key, keyPosition }: TokenContext): Tensor<"batch" | "token" | "key_token"> {
  return typed(sub(position as AnyTensor, (keyPosition ?? iota(key)) as AnyTensor));
}

/** The context of whole texts, ids i32 [batch, token] with `pad` at the end: causal, padding masked. */
export function wholeTexts(ids: Tensor<"batch" | "token">, token: Axis<"token">, pad = 0): TokenContext {
  const key = axis("key_token", token.size);
  return { position: iota(token), visible: and(causalMask(token, key), ne(rename(ids, token, key), pad)), key };
}

/**
 * The outputs `present.N.key` and `.value` f32 [batch, heads, key_token, head_dim]: each layer's KV cache of all
 * tokens; `of` as for `decoderInputs`.
 */
export function presentOutputs(
  memory: readonly LayerMemory[],
  a: DecoderAxes,
  of: CacheOf = "own",
): Readonly<Record<string, Remembered>> {
  const lay = (x: Remembered) => transpose(x, [a.batch, a.heads, axisOf(x, "key_token"), a.headDim]);
  const named = memory.flatMap(({ key, value }, i) => [
    [`present.${i}${between(of)}.key`, lay(key)],
    [`present.${i}${between(of)}.value`, lay(value)],
  ]);
  return Object.fromEntries(named);
}

/** Only the last token, whose logits prefill returns: [..., token] -> [..., token = 1] */
export function lastOf<A extends string>(x: Tensor<A | "token">): Tensor<A | "token"> {
  const token = axisOf(x, "token");
  return slice(x, token, longer(token, -1).size, 1) as Tensor<A | "token">;
}
