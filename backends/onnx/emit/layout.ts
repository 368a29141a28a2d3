/** Layout changes: regrouping dimensions (Reshape), reordering axes (Transpose), adding missing axes (Expand). */
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

/** Regroups the value's axes into dimensions without reordering them. */
export function regroup(e: Emission, v: Value, groups: Groups): Value {
  if (sameGroups(v.groups, groups)) return v;
  if (v.view) return placeView(e, v.view, orderOf(v), groups, v.dtype);
  const dims = dimsOf(groups);
  const name = emit(e, "Reshape", [v.base.name, reshapeTarget(e, v.base.dims, dims)]);
  return { name, dtype: v.dtype, groups, base: v.base };
}

/** The target shape as a constant if -1 and 0 (copy the input dimension) can express symbolic sizes, else computed. */
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

/** The tensor with its axes in the given order: an existing layout or a Transpose. */
export function arrange(e: Emission, t: Tensor, order: readonly string[]): Value {
  const known = t.layouts.find((v) => sameOrder(orderOf(v), order));
  if (known) return known;
  const moved = transposeTo(e, easiest(t, order), order);
  t.layouts.push(moved);
  return moved;
}

/** Prefers a layout whose innermost axis stays innermost, so that whole rows are moved. */
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

/** Maximal runs of axes that are adjacent in both orders: each is transposed as one dimension. */
function commonRuns(axes: readonly Axis[], order: readonly string[]): Axis[][] {
  const runs: Axis[][] = [];
  axes.forEach((axis, i) => {
    const before = axes[i - 1];
    if (before && order.indexOf(before.name) + 1 === order.indexOf(axis.name)) runs.at(-1)!.push(axis);
    else runs.push([axis]);
  });
  return runs;
}

/** The cost of getting the tensor in an order: its elements if it must be moved, else 0. */
export const moveCost = (t: Tensor, order: readonly string[]): number =>
  t.layouts.some((v) => sameOrder(orderOf(v), order)) ? 0 : weightOf(axesOf(first(t)));

/** The tensor with exactly these axes in this order, expanded along those that it lacks. */
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

/** The tensor with exactly the given axes, one dimension each: for outputs and operators that do not broadcast. */
export const whole = (e: Emission, t: Tensor, axes: readonly Axis[]): Value =>
  regroup(e, materialize(e, t, realAxes(axes)), separate(axes));

/** Inserts an axis after its nearest predecessor in `declared`, or at the front. */
export function inserted(order: readonly string[], axis: string, declared: readonly string[]): string[] {
  const before = declared.slice(0, declared.indexOf(axis)).findLast((n) => order.includes(n));
  const at = before === undefined ? 0 : order.indexOf(before) + 1;
  return [...order.slice(0, at), axis, ...order.slice(at)];
}
