/** Axes of tensors, and axes derived from others. */
import { addDims, type Dim, didYouMean, mulDims, UsageError } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import type { Tensor } from "../tensor.ts";

/** The axis of x with this name. Throws UsageError, listing its axes, if there is none. */
export function axisOf<A extends string, K extends A>(x: Tensor<A>, name: K): Axis<K> {
  const found = x.type.axes.find((a) => a.name === name);
  if (!found) {
    const names = x.type.axes.map((a) => a.name);
    const has = names.length === 0 ? "It has none." : `It has: ${names.join(", ")}.`;
    throw new UsageError(`a tensor has no axis "${name}"${didYouMean(name, names) || "."} ${has}`);
  }
  return found as Axis<K>;
}

/** The axis with `by` more elements; sizes may be symbols. */
export const longer = <N extends string>(a: Axis<N>, by: Dim): Axis<N> => axis(a.name, addDims(a.size, by));

/** The axis with `by` times as many elements. */
export const times = <N extends string>(a: Axis<N>, by: Dim): Axis<N> => axis(a.name, mulDims(a.size, by));
