/** Decoding step by step: keys and values of earlier tokens, and who sees whom among them. */
import { type Dim, ops } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { type AnyTensor, add, concat, iota, le, rename, type Tensor, typed } from "../tensor.ts";

/**
 * True where a key is not later than the token: token i stands at place `past` + i among the keys.
 * -> bool [token, key]
 */
export function causalMask<T extends string, K extends string>(
  token: Axis<T>,
  key: Axis<K>,
  past: Dim = 0,
): Tensor<T | K> {
  const place: AnyTensor = past === 0 ? iota(token) : add(iota(token), typed<never>(ops.sizeOf(past, "i32")));
  return typed<T | K>(le(iota(key), place));
}

/** Keys or values with those of earlier tokens before them. now [..., token], past [..., key] -> [..., key]. */
export function withPast<A extends string, T extends A, K extends string>(
  now: Tensor<A>,
  token: Axis<T>,
  key: Axis<K>,
  past?: Tensor<Exclude<A, T> | K>,
): Tensor<Exclude<A, T> | K> {
  const renamed = rename(now, token, key) as AnyTensor;
  return typed(past ? concat<string, string>([past as AnyTensor, renamed], key) : renamed);
}
