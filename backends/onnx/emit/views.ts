/** Views of stored and bound inputs: requested as range, order and shape, and resolved once all requests are known. */
import type { Axis, DType, Node } from "../../../compiler/index.ts";
import type { Emission } from "./emission.ts";
import { dimsOf, type Groups, realAxes, type Value, type View, value } from "./value.ts";

/** Prefix of names that stand for a view until place-inputs. */
export const placeholder = "\u0000";

/** An entire input as a view. */
export const wholeView = (node: Node): View => ({ node, start: 0, axes: realAxes(node.type.axes) });

/** A placeholder value for a view in an order and grouping; equal requests share one. */
export function placeView(e: Emission, view: View, order: readonly string[], groups: Groups, dtype: DType): Value {
  const dims = dimsOf(groups) as number[];
  const key = JSON.stringify([
    view.node.attrs.name,
    view.start,
    view.axes.map((a) => a.size),
    permOf(view, order),
    dims,
  ]);
  const name = `${placeholder}${key}`;
  if (!e.views.has(name)) e.views.set(name, { ...view, order, dims });
  return { ...value(name, dtype, groups), view };
}

/** A range of a view along its outermost axis; undefined for other axes, where it is not contiguous. */
export function sliceView(view: View, axis: string, start: number, length: number): View | undefined {
  const [outer, ...rest] = view.axes;
  if (outer?.name !== axis) return undefined;
  const stride = rest.reduce((n, a) => n * (a.size as number), 1);
  return {
    node: view.node,
    start: view.start + start * stride,
    axes: realAxes([{ name: axis, size: length }, ...rest]),
  };
}

/** The permutation from the view's row-major axes to the order. */
export const permOf = (view: View, order: readonly string[]): number[] =>
  order.map((n) => view.axes.findIndex((a: Axis) => a.name === n));
