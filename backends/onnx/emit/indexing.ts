/** Gather and its adjoint: ONNX rejects out-of-range indices, so they are clamped, as the graph's semantics require. */
import { type Axis, type Dim, subDims } from "../../../compiler/index.ts";
import { castTo, type Emission, emit, scalar } from "./emission.ts";
import { arrange, materialize, regroup } from "./layout.ts";
import { dimsTensor, dimTensor } from "./sizes.ts";
import {
  axesOf,
  dimOf,
  dimsOf,
  first,
  type Groups,
  isolate,
  orderOf,
  realAxes,
  separate,
  type Tensor,
  tensor,
  type Value,
  value,
} from "./value.ts";

/** table[index] along one axis; shared axes are batch axes. */
export function gather(e: Emission, table: Tensor, index: Tensor, axis: Axis): Tensor {
  const [own, asked] = [orderOf(first(table)), orderOf(first(index))];
  if (!own.includes(axis.name)) return table;
  const batch = own.filter((n) => asked.includes(n));
  const clamped = clamp(e, index, axis.size);
  return batch.length === 0 ? gatherRows(e, table, clamped, axis) : gatherBatched(e, table, clamped, axis, batch);
}

/** Clamps indices to 0 ... size - 1. */
function clamp(e: Emission, index: Tensor, size: Dim): Tensor {
  const v = first(index);
  const top =
    typeof size === "number"
      ? scalar(e, index.dtype, size - 1)
      : castTo(e, emit(e, "Squeeze", [dimTensor(e, subDims(size, 1))]), "i64", index.dtype);
  const name = emit(e, "Min", [emit(e, "Max", [v.name, scalar(e, index.dtype, 0)]), top]);
  return tensor(value(castTo(e, name, index.dtype, "i64"), index.dtype, v.groups));
}

/**
 * Without batch axes: the index's dimensions replace the gathered one. A stored table is stored with contiguous rows.
 */
function gatherRows(e: Emission, table: Tensor, index: Tensor, axis: Axis): Tensor {
  const own = orderOf(first(table)).filter((n) => n !== axis.name);
  const isStored = first(table).view && e.kinds.get(first(table).view!.node) === "stored";
  const v = isStored ? arrange(e, table, [axis.name, ...own]) : first(table);
  const source = regroup(e, v, isolate(v.groups, [axis.name]));
  const at = dimOf(source, axis.name);
  const chosen = first(index);
  const name = emit(e, "Gather", [source.name, chosen.name], { axis: at });
  return tensor(
    value(
      name,
      table.dtype,
      source.groups.flatMap((g, i) => (i === at ? chosen.groups : [g])),
    ),
  );
}

/** With batch axes: GatherND with the batch leading in both operands. */
function gatherBatched(e: Emission, table: Tensor, index: Tensor, axis: Axis, batch: readonly string[]): Tensor {
  const rest = orderOf(first(table)).filter((n) => n !== axis.name && !batch.includes(n));
  const further = orderOf(first(index)).filter((n) => !batch.includes(n));
  const from = arrange(e, table, [...batch, axis.name, ...rest]);
  const at = arrange(e, index, [...batch, ...further]);
  const [stack, asked] = [axesNamed(from, batch), axesNamed(at, further)];
  const source = regroup(e, from, [...separate(stack), [axis], ...(rest.length > 0 ? [axesNamed(from, rest)] : [])]);
  const chosen = regroup(e, at, [...separate(stack), ...separate(asked), []]);
  const name = emit(e, "GatherND", [source.name, chosen.name], { batch_dims: stack.length });
  return tensor(
    value(name, table.dtype, [...separate(stack), ...separate(asked), ...source.groups.slice(stack.length + 1)]),
  );
}

const axesNamed = (v: Value, names: readonly string[]): Axis[] =>
  names.map((n) => axesOf(v).find((a) => a.name === n)!);

/**
 * Adds rows of `updates` at the positions that `index` gives along a new axis. Uses ScatterElements: onnxruntime 1.30
 * runs ScatterND with reduction "add" in parallel without a lock and loses updates where indices repeat.
 */
export function scatterAdd(e: Emission, index: Tensor, updates: Tensor, from: ScatterAxes): Tensor {
  const { axis, batch, asked, rest } = from;
  const groups: Groups = [...separate(batch), realAxes(asked), ...separate(rest)];
  const source = regroup(e, materialize(e, updates, realAxes([...batch, ...asked, ...rest])), groups);
  const rows = clamp(e, index, axis.size);
  const places = regroup(e, materialize(e, rows, realAxes([...batch, ...asked])), [
    ...separate(batch),
    realAxes(asked),
    ...rest.map(() => []),
  ]);
  const spread = emit(e, "Expand", [places.name, dimsTensor(e, dimsOf(groups))]);
  const out: Groups = [...separate(batch), realAxes([axis]), ...separate(rest)];
  const zero = emit(e, "Expand", [scalar(e, "f32", 0), dimsTensor(e, dimsOf(out))]);
  const added = emit(e, "ScatterElements", [zero, spread, castTo(e, source.name, updates.dtype, "f32")], {
    axis: batch.length,
    reduction: "add",
  });
  return tensor(value(castTo(e, added, "f32", updates.dtype), updates.dtype, out));
}

/** The axes of a scatter: the new one, the batch axes, the summed axes of the index, and the rest of the updates. */
export interface ScatterAxes {
  readonly axis: Axis;
  readonly batch: readonly Axis[];
  readonly asked: readonly Axis[];
  readonly rest: readonly Axis[];
}
