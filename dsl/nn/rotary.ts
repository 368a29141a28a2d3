/** Rotary position embedding. */
import { UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import {
  type AnyTensor,
  add,
  at,
  cast,
  concat,
  cos,
  exp,
  iota,
  merge,
  mul,
  scale,
  sin,
  split,
  sub,
  type Tensor,
} from "../tensor.ts";

/**
 * Rotates pairs of x's `dim` axis by position · base^(−2i/dim), in the half-split layout of LLaMA ("rotate_half"):
 * element i is paired with element i + dim/2. Su et al. 2021, arXiv:2104.09864, section 3.2.2.
 * x [..., token, dim], position i32 [token] or [batch, token] -> as x.
 */
export function rotary<A extends string, P extends A, D extends A>(
  x: Tensor<A>,
  position: Tensor<P>,
  dim: Axis<D>,
  base = 10000,
): Tensor<A> {
  const half = (dim.size as number) / 2;
  if (!Number.isInteger(half))
    throw new UsageError(`rotary positions turn pairs, but axis "${dim.name}" has ${dim.size} elements: make it even`);
  const [side, pair] = [axis(`${dim.name}_side`, 2), axis(`${dim.name}_pair`, half)];
  const frequency = exp(scale(cast(iota(pair), "f32"), -Math.log(base) / half));
  const angle: AnyTensor = mul(cast(position, "f32"), frequency);
  const halves: AnyTensor = split(x, dim, [side, pair]);
  const [low, high]: readonly AnyTensor[] = [at(halves, side, 0), at(halves, side, 1)];
  const first = sub(mul(low!, cos(angle)), mul(high!, sin(angle)));
  const second = add(mul(high!, cos(angle)), mul(low!, sin(angle)));
  return stack(first, second, side, pair, dim);
}

/** Two halves as one axis again. */
function stack(a: AnyTensor, b: AnyTensor, side: Axis, pair: Axis, dim: Axis): AnyTensor {
  const one = axis(side.name, 1);
  const lift = (x: AnyTensor): AnyTensor => split(x, pair, [one, pair]);
  return merge(concat([lift(a), lift(b)], side), [side, pair], dim);
}
