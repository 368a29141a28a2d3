/** Affine maps over any axes. */
import { type Distribution, truncatedNormal, zeros } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, contract, rename, type Tensor, typed } from "../tensor.ts";

export interface LinearOptions {
  /** False leaves the bias out. */
  readonly bias?: boolean;
  readonly init?: Distribution;
}

/**
 * W·x + b from the axes `from` to the axes `to`; parameters `weight` [to..., from...] and `bias` [to...].
 * x [..., from...] -> [..., to...]. An axis in both lists keeps its name: it is the same width before and after.
 */
export function linear<A extends string, F extends A, T extends string>(
  p: Params,
  x: Tensor<A>,
  from: readonly Axis<F>[],
  to: readonly Axis<T>[],
  options: LinearOptions = {},
): Tensor<Exclude<A, F> | T> {
  const fresh = to.map(
    (t) => (x.type.axes.some((a) => a.name === t.name) ? axis(`${t.name}_out`, t.size) : t) as Axis<T>,
  );
  const axes: readonly Axis[] = [...fresh, ...from];
  const weight: AnyTensor = p.parameter("weight", axes, options.init ?? truncatedNormal(0.02));
  let y: AnyTensor = contract(x, weight, from);
  if (options.bias !== false) y = add(y, p.parameter("bias", fresh, zeros));
  fresh.forEach((f, i) => {
    y = rename(y, f, to[i]!);
  });
  return typed(y);
}
