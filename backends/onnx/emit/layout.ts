/** Layout changes: other dimensions over the same order (Reshape), another order (Transpose), missing axes (Expand). */
import type { Axis, Dim } from "../../../compiler/index.ts";
import { type Emission, emit, integers } from "./emission.ts";
import { dimsTensor } from "./sizes.ts";
import {
  axesOf,
  dimsOf,
  first,
  type Groups,
  orderOf,
  realAxes,
  sameGroups,
  sameOrder,
  separate,
  type Tensor,
  type Value,
  value,
  weightOf,
} from "./value.ts";
import { placeView } from "./views.ts";

/** The value with its axes, whose order stays, grouped into dimensions as given. */
export function regroup(e: Emission, v: Value, groups: Groups): Value {
  if (sameGroups(v.groups, groups)) return v;
  if (v.view) return placeView(e, v.view, orderOf(v), groups, v.dtype);
  const dims = dimsOf(groups);
  const name = emit(e, "Reshape", [v.base.name, reshapeTarget(e, v.base.dims, dims)]);
  return { name, dtype: v.dtype, groups, base: v.base };
}

/** The dims as a constant where -1 and 0 (keep what was there) can say the symbolic ones, else computed. */
function reshapeTarget(e: Emission, from: readonly Dim[], to: readonly Dim[]): string {
  const kept = to.map((d, i) => (typeof d === "number" ? d : from[i] === d ? 0 : d));
  const open = kept.filter((d) => typeof d !== "number");
  if (open.length <= 1)
    return integers(
      e,
      kept.map((d) => (typeof d === "number" ? d : -1)),
    );
  return dimsTensor(e, to);
}

/** The tensor with its axes in the order given, by a layout that is there or a Transpose. */
export function arrange(e: Emission, t: Tensor, order: readonly string[]): Value {
  const known = t.layouts.find((v) => sameOrder(orderOf(v), order));
  if (known) return known;
  const moved = transposeTo(e, easiest(t, order), order);
  t.layouts.push(moved);
  return moved;
}

/** A layout whose innermost axis stays innermost is moved in whole rows. */
const easiest = (t: Tensor, order: readonly string[]): Value =>
  t.layouts.find((v) => orderOf(v).at(-1) === order.at(-1)) ?? first(t);

function transposeTo(e: Emission, v: Value, order: readonly string[]): Value {
  if (v.view && e.kinds.get(v.view.node) === "stored") {
    const axes = axesOf(v);
    const moved = order.map((n) => axes.find((a) => a.name === n)!);
    return placeView(e, v.view, order, separate(moved), v.dtype);
  }
  const runs = commonRuns(axesOf(v), order);
  const source = regroup(e, v, runs);
  const place = (run: readonly Axis[]) => order.indexOf(run[0]!.name);
  const perm = runs.map((_, i) => i).sort((a, b) => place(runs[a]!) - place(runs[b]!));
  const name = emit(e, "Transpose", [source.name], { perm });
  return value(
    name,
    v.dtype,
    perm.map((p) => runs[p]!),
  );
}

/** Maximal sequences of axes that follow each other in both orders: they move as one dimension. */
function commonRuns(axes: readonly Axis[], order: readonly string[]): Axis[][] {
  const runs: Axis[][] = [];
  axes.forEach((axis, i) => {
    const before = axes[i - 1];
    if (before && order.indexOf(before.name) + 1 === order.indexOf(axis.name)) runs.at(-1)!.push(axis);
    else runs.push([axis]);
  });
  return runs;
}

/** The cost of having the tensor in an order: its elements if it must be moved, else 0. */
export const moveCost = (t: Tensor, order: readonly string[]): number =>
  t.layouts.some((v) => sameOrder(orderOf(v), order)) ? 0 : weightOf(axesOf(first(t)));

/** The tensor with exactly these axes in this order, copied along those that it lacks. */
export function materialize(e: Emission, t: Tensor, axes: readonly Axis[]): Value {
  const have = orderOf(first(t));
  const own = axes.filter((a) => have.includes(a.name));
  const v = arrange(
    e,
    t,
    own.map((a) => a.name),
  );
  if (own.length === axes.length) return v;
  const source = regroup(
    e,
    v,
    axes.map((a) => (own.includes(a) ? [a] : [])),
  );
  const groups = separate(axes);
  return value(emit(e, "Expand", [source.name, dimsTensor(e, dimsOf(groups))]), t.dtype, groups);
}

/** The tensor with all axes given, one dimension each, in their order: what an output or a strict operator takes. */
export const whole = (e: Emission, t: Tensor, axes: readonly Axis[]): Value =>
  regroup(e, materialize(e, t, realAxes(axes)), separate(axes));

/** The order with an axis put after the nearest that precedes it in `declared`, or in front. */
export function inserted(order: readonly string[], axis: string, declared: readonly string[]): string[] {
  const before = declared.slice(0, declared.indexOf(axis)).findLast((n) => order.includes(n));
  const at = before === undefined ? 0 : order.indexOf(before) + 1;
  return [...order.slice(0, at), axis, ...order.slice(at)];
}
