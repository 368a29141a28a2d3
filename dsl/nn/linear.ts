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
 * Keeps the variance of what is mapped, at any width: std 1/sqrt(fan-in), LeCun et al. 1998, section 4.6. At the widths of
 * the published models this is the customary 0.02.
 */
const fanIn = (from: readonly Axis[]): Distribution =>
  truncatedNormal(from.reduce((n, a) => n * (a.size as number), 1) ** -0.5);

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
  const weight: AnyTensor = p.parameter("weight", axes, options.init ?? fanIn(from));
  let y: AnyTensor = contract(x, weight, from);
  if (options.bias !== false) y = add(y, p.parameter("bias", fresh, zeros));
  fresh.forEach((f, i) => {
    y = rename(y, f, to[i]!);
  });
  return typed(y);
}
