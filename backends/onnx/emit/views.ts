/** Stored and bound inputs: they are asked for as ranges, orders and shapes, and get their final form when all asked. */
import type { Axis, DType, Node } from "../../../compiler/index.ts";
import type { Emission } from "./emission.ts";
import { dimsOf, type Groups, realAxes, type Value, type View, value } from "./value.ts";

/** Marks a name that stands for a view until the export ends. */
export const placeholder = "\u0000";

/** The whole of an input as a view. */
export const wholeView = (node: Node): View => ({ node, start: 0, axes: realAxes(node.type.axes) });

/** A value for the view in an order and grouping; one placeholder for each different one. */
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

/** A range of a view along its outermost axis; undefined where the range is not contiguous. */
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

/** The dimension of the view's row-major axes that stands at each place of the order. */
export const permOf = (view: View, order: readonly string[]): number[] =>
  order.map((n) => view.axes.findIndex((a: Axis) => a.name === n));
