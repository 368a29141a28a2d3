/** Concatenation, slicing and selection along dimensions. */
import { type Dim, divideDims, ops, productOfDims, subDims } from "../../../../compiler/index.ts";
import { broadcastShape, sharedNames } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { elements, freshName, known, tensor, type Value } from "../values.ts";
import { expandTo } from "./shapes.ts";

/** Concatenates parts; a part of length 1 gets its missing axis. */
function concat(n: NodeView): Value {
  const values = n.inputs.map((_, i) => n.in(i)).filter((v) => elements(v) !== 0);
  if (values.length === 0) return n.in(0);
  const rank = values[0]!.shape.length;
  const at = n.dim(n.int("axis"), rank);
  return concatAlong(n, values, at);
}

export function concatAlong(n: NodeView, values: readonly Value[], at: number): Value {
  if (values.length === 1) return values[0]!;
  const [first] = values;
  if (values.some((v) => v.shape.length !== first!.shape.length))
    throw n.fail("inputs have different numbers of dimensions");
  const others = broadcastShape(
    n,
    values.map((v) => v.shape.map((d, i) => (i === at ? 1 : d))),
  );
  const clash = values.find((v) => v.shape.some((d, i) => i !== at && d !== others[i]));
  if (clash)
    throw n.fail(`an input of [${clash.shape.join(", ")}] cannot be concatenated with [${first!.shape.join(", ")}]`);
  // A placeholder size other than 1, so that the concatenated dimension gets a name from any part.
  const withAxis = others.map((d, i): Dim => (i === at ? 2 : d));
  const names = sharedNames(withAxis, values, "joined");
  const nodes = values.map((v) => {
    const node = n.named(v, names);
    return v.shape[at] === 1 ? ops.broadcast(node, [{ name: names[at]!, size: 1 }]) : node;
  });
  const length = values.map((v) => v.shape[at]!).reduce((a, b) => subDims(a, subDims(0, b)));
  const shape = others.map((d, i) => (i === at ? length : d));
  return tensor(first!.type, shape, names, ops.concat(nodes, names[at]!));
}

function split(n: NodeView): readonly Value[] {
  const x = n.in(0);
  const at = n.dim(n.int("axis", 0), x.shape.length);
  const size = x.shape[at]!;
  const parts = n.message.output.length;
  const isSaid = n.inputs[1] !== undefined || n.has("num_outputs");
  if (n.opset >= 18 && !isSaid) throw n.fail("neither the input split nor the attribute num_outputs is given");
  const lengths = n.sizes(1, "split") ?? n.ints("split") ?? equalParts(n, size, n.int("num_outputs", parts));
  let start: Dim = 0;
  return lengths.map((length) => {
    const from = start;
    start = subDims(start, subDims(0, length));
    return rangeOf(n, x, at, from, length);
  });
}

function equalParts(n: NodeView, size: Dim, parts: number): Dim[] {
  if (!(parts >= 1 && parts <= n.message.output.length))
    throw n.fail(`got ${parts} parts for ${n.message.output.length} outputs`);
  const exact = divideDims(size, parts);
  if (exact !== undefined) return Array.from({ length: parts }, () => exact);
  if (typeof size !== "number") throw n.fail(`${size} elements cannot be split into ${parts} equal parts`);
  const each = Math.ceil(size / parts);
  return Array.from({ length: parts }, (_, i) => Math.min(each, size - each * i));
}

/** `length` elements of a dimension starting at `start`. */
export function rangeOf(n: NodeView, value: Value, at: number, start: Dim, length: Dim): Value {
  if (length === 0 || elements(value) === 0) return empty(value, at, length);
  const size = value.shape[at]!;
  if (start === 0 && length === size) return value;
  const x = n.tensor(value);
  if (size === 1) throw n.fail(`elements ${start} to ${length} are out of range for a dimension of 1`);
  const axis = x.axes[at]!;
  const part = ops.slice(x.node, axis, start, length);
  const node = length === 1 ? ops.dropAxis(part, axis) : part;
  return tensor(
    x.type,
    x.shape.map((d, i) => (i === at ? length : d)),
    x.axes,
    node,
  );
}

/** A range of no elements as a constant: a list of sizes, a part that a concatenation leaves out, or no update. */
const empty = (value: Value, at: number, length: Dim = 0): Value =>
  known(
    value.type,
    value.shape.map((d, i) => (i === at ? length : d)),
    [],
  );

function slice(n: NodeView): Value {
  let x = n.in(0);
  const starts = n.sizes(1, "starts") ?? [...(n.ints("starts") ?? [])];
  const ends = n.sizes(2, "ends") ?? [...(n.ints("ends") ?? [])];
  const axes = n.dims(n.list("axes", 3) ?? starts.map((_, i) => i), x.shape.length);
  const steps = n.numbers(4, "steps") ?? starts.map(() => 1);
  if ([ends, axes, steps].some((list) => list.length !== starts.length))
    throw n.fail(`got ${starts.length} starts, ${ends.length} ends, ${axes.length} axes and ${steps.length} steps`);
  axes.forEach((at, i) => {
    x = steppedRange(n, x, at, starts[i]!, ends[i]!, steps[i]!);
  });
  return x;
}

function steppedRange(n: NodeView, x: Value, at: number, start: Dim, end: Dim, step: number): Value {
  const size = x.shape[at]!;
  if (step === 0) throw n.fail("a step must not be 0");
  if (step > 0) {
    const [from, to] = [bounded(n, start, size), bounded(n, end, size)];
    const span = subDims(to, from);
    if (typeof span === "number" && span <= 0) return empty(x, at);
    if (step === 1) return rangeOf(n, x, at, from, span);
    const parts = divideDims(size, step);
    if (typeof span !== "number" && to === size && parts !== undefined && typeof from === "number" && from < step)
      return everyFrom(n, x, at, from, step, parts);
    if (typeof span !== "number")
      throw n.fail(`a step of ${step} needs a numeric size, got ${span}: ${n.toGive(span)}`);
    requireFew(n, span / step);

    return chosen(
      n,
      x,
      at,
      Array.from({ length: Math.ceil(span / step) }, (_, i) => (from as number) + i * step),
    );
  }
  if (typeof size !== "number") throw n.fail(`a dimension of ${size} elements is read backwards: ${n.toGive(size)}`);
  const place = (d: Dim) => {
    if (typeof d !== "number") throw n.fail(`a range read backwards begins or ends at ${d}: ${n.toGive(d)}`);
    return Math.min(Math.max(d < 0 ? d + size : d, -1), size - 1);
  };
  const [from, to] = [place(start), place(end)];
  const count = Math.max(0, Math.ceil((from - to) / -step));
  requireFew(n, count);
  return count === 0
    ? empty(x, at)
    : chosen(
        n,
        x,
        at,
        Array.from({ length: count }, (_, i) => from + i * step),
      );
}

/** The element at `from` of each of the equal `parts` of a side, of `step` elements each. */
function everyFrom(n: NodeView, value: Value, at: number, from: number, step: number, parts: Dim): Value {
  const x = n.tensor(value);
  const axis = x.axes[at]!;
  const [part, place] = [freshName("part", x.axes), freshName("place", x.axes)];
  const apart = ops.split(x.node, axis, [
    { name: part, size: parts },
    { name: place, size: step },
  ]);
  const node = ops.rename(ops.dropAxis(ops.slice(apart, place, from, 1), place), part, axis);
  return tensor(x.type, x.shape.with(at, parts), x.axes, node);
}

/** Limit on the length of an index table. */
const mostPlaces = 2 ** 20;

function requireFew(n: NodeView, count: number): void {
  if (!(count <= mostPlaces)) throw n.fail(`selecting ${count} elements one by one is not supported`);
}

/** Normalizes a possibly negative slice bound and clamps it to the dimension. */
function bounded(n: NodeView, place: Dim, size: Dim): Dim {
  const from = typeof place === "number" && place < 0 ? subDims(size, -place) : place;
  if (certainly(0, ">=", from)) return 0;
  if (certainly(from, ">=", size) || (typeof place === "number" && place >= 2 ** 31 - 1)) return size;
  if (typeof from !== "number" && typeof size === "number") return from; // runs with sizes that do not fit are rejected
  if (certainly(size, ">=", from) && certainly(from, ">=", 0)) return from;
  throw n.fail(`whether index ${from} is within ${size} depends on symbolic sizes: ${n.toGive(from, size)}`);
}

/** Selects elements of a dimension by constant indices. */
export function chosen(n: NodeView, value: Value, at: number, places: readonly number[]): Value {
  if (places.length === 1) return rangeOf(n, value, at, places[0]!, 1);
  if (places.every((p, i) => p === places[0]! + i)) return rangeOf(n, value, at, places[0]!, places.length);
  const x = n.tensor(value);
  const shape = x.shape.map((d, i) => (i === at ? places.length : d));
  if (value.shape[at] === 1) return expandTo(n, x, shape);
  const axis = x.axes[at]!;
  const own = freshName(axis, x.axes);
  const node = ops.rename(
    ops.gather(x.node, ops.table(places, [{ name: own, size: places.length }], "i32"), axis),
    own,
    axis,
  );
  return tensor(x.type, shape, x.axes, node);
}

function tile(n: NodeView): Value {
  const repeats = n.sizesIn(1, "repeats");
  let x = n.in(0);
  repeats.forEach((times, at) => {
    x = repeated(n, x, at, times);
  });
  return x;
}

function repeated(n: NodeView, value: Value, at: number, times: Dim): Value {
  if (times === 1) return value;
  if (!certainly(times, ">=", 1)) throw n.fail(`a dimension is repeated ${times} times`);
  const x = n.tensor(value);
  const size = x.shape[at]!;
  if (size === 1)
    return expandTo(
      n,
      x,
      x.shape.map((d, i) => (i === at ? times : d)),
    );
  const axis = x.axes[at]!;
  const copy = freshName("copy", x.axes);
  const node = ops.merge(ops.broadcast(x.node, [{ name: copy, size: times }]), [copy, axis], axis);
  return tensor(
    x.type,
    x.shape.map((d, i) => (i === at ? productOfDims([d, times]) : d)),
    x.axes,
    node,
  );
}

/** Range with constant start, limit and step. */
function range(n: NodeView): Value {
  const [start, limit, step] = [0, 1, 2].map((i) => n.knownIn(i, ["start", "limit", "delta"][i]!).values[0]!);
  const { type } = n.in(0);
  const length = countOf(n, start!, limit!, step!);
  if (length === 0) return known(type, [0], []);
  const name = "place";
  const places = ops.iota({ name, size: length }, "i32");
  const typed = type.dtype === "i32" ? places : ops.cast(places, type.dtype);
  const at = (d: Dim) => n.named(known(type, [], [d]), []);
  const scaled = step === 1 ? typed : ops.mul(typed, at(step!));
  return tensor(type, [length], [name], length === 1 ? at(start!) : start === 0 ? scaled : ops.add(scaled, at(start!)));
}

function countOf(n: NodeView, start: Dim, limit: Dim, step: Dim): Dim {
  if (typeof step !== "number" || step === 0) throw n.fail(`the step must be a number other than 0, got ${step}`);
  const span = subDims(limit, start);
  if (typeof span === "number") return Math.max(0, Math.ceil(span / step));
  const length = divideDims(span, step);
  if (length === undefined)
    throw n.fail(`the length of the range from ${start} to ${limit} by ${step} depends on symbolic sizes`);
  return length;
}

export const rangeRecords: Records = {
  Concat: { build: concat, moves: true },
  Split: { build: split, moves: true },
  Slice: { build: slice, moves: true },
  Tile: { build: tile, moves: true },
  Range: { build: range },
};
