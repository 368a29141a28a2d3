/** KV cache and causal mask for incremental decoding. */
import type { Dim } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { type AnyTensor, add, concat, iota, le, rename, sizeOf, type Tensor, typed } from "../tensor.ts";

/**
 * True where a key is not later than the token: token i is at position `past` + i among the keys.
 * -> bool [token, key]
 */
export function causalMask<T extends string, K extends string>(
  token: Axis<T>,
  key: Axis<K>,
  past: Dim = 0,
): Tensor<T | K> {
  const place: AnyTensor = past === 0 ? iota(token) : add(iota(token), sizeOf(past, "i32"));
  return typed<T | K>(le(iota(key), place));
}

/** Prepends cached keys or values: now [..., token], past [..., key] -> [..., key]. */
export function withPast<A extends string, T extends A, K extends string>(
  now: Tensor<A>,
  token: Axis<T>,
  key: Axis<K>,
  past?: Tensor<Exclude<A, T> | K>,
): Tensor<Exclude<A, T> | K> {
  const renamed = rename(now, token, key) as AnyTensor;
  return typed(past ? concat<string, string>([past as AnyTensor, renamed], key) : renamed);
}
