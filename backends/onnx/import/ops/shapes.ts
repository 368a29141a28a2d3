/** Operators on shapes: most of them say which dimension is which axis, and make no node. */
import { type Dim, type Node, ops, productOfDims, subDims } from "../../../../compiler/index.ts";
import { broadcastShape, sharedNames } from "../broadcast.ts";
import { elementType, float, int64 } from "../elements.ts";
import { type NodeView, withShape } from "../node-view.ts";
import type { Records } from "../record.ts";
import { reshaped } from "../reshape.ts";
import { certainly, quotientOf } from "../sizes.ts";
import { elements, freshName, isNumbers, known, type Stored, type Tensor, tensor, type Value } from "../values.ts";

/** The dimensions of a tensor with their axes. */
const dimsOf = (x: Tensor) => x.shape.map((size, i) => [size, x.axes[i]] as const);

/** A value with dimensions of 1 put in or taken out: what is stored stays stored. */
function viewed(n: NodeView, shape: readonly Dim[], x: Value): Value {
  if (x.kind === "known") return known(x.type, shape, x.values);
  if (x.kind === "stored")
    return { ...x, shape, ...(x.known && { known: known(x.type, shape, x.known.values) }) } satisfies Stored;
  const axes = x.axes.filter((a) => a !== undefined);
  if (shape.filter((d) => d !== 1).length !== axes.length) throw n.fail("a dimension that is left out is not 1");
  let at = 0;
  return withShape(
    x,
    shape.map((d) => [d, d === 1 ? undefined : axes[at++]]),
  );
}

function unsqueeze(n: NodeView): Value {
  const x = n.in(0);
  const axes = n.list("axes", 1) ?? [];
  const rank = x.shape.length + axes.length;
  if (rank > mostDimensions) throw n.fail(`a shape of ${rank} dimensions`);
  const at = new Set(n.dims(axes, rank));
  const left = [...x.shape];
  return viewed(
    n,
    Array.from({ length: rank }, (_, i) => (at.has(i) ? 1 : left.shift()!)),
    x,
  );
}

function squeeze(n: NodeView): Value {
  const x = n.in(0);
  const axes = n.list("axes", 1);
  const at = new Set(axes ? n.dims(axes, x.shape.length) : x.shape.flatMap((d, i) => (d === 1 ? [i] : [])));
  const open = [...at].find((i) => x.shape[i] !== 1);
  if (open !== undefined) throw n.fail(`dimension ${open} is ${x.shape[open]}, not 1`);
  return viewed(
    n,
    x.shape.filter((_, i) => !at.has(i)),
    x,
  );
}

function transpose(n: NodeView): Value {
  const x = n.x(0);
  const rank = x.shape.length;
  const perm = n.ints("perm") ?? x.shape.map((_, i) => rank - 1 - i);
  if (perm.length !== rank) throw n.fail(`perm orders ${perm.length} dimensions of ${rank}`);
  const dims = dimsOf(x);
  return withShape(
    x,
    n.dims(perm, rank).map((p) => dims[p]!),
  );
}

/** The shape that a Reshape asks for: 0 keeps a dimension, -1 is what is left. */
function askedShape(n: NodeView, x: Value): Dim[] {
  const asked = n.sizes(1, "the shape") ?? [...(n.ints("shape") ?? [])];
  const shape = asked.map((d, i) => {
    if (d !== 0 || n.flag("allowzero")) return d;
    if (x.shape[i] === undefined) throw n.fail(`the shape keeps dimension ${i}, which there is not`);
    return x.shape[i]!;
  });
  const unknown = shape.indexOf(-1);
  if (unknown < 0) return shape;
  const rest = productOfDims(shape.filter((_, i) => i !== unknown));
  const left = rest === 0 ? undefined : quotientOf(elements(x), rest);
  if (left === undefined)
    throw n.fail(`${elements(x)} elements are no multiple of ${rest}: give the open sizes when importing`);
  shape[unknown] = left;
  return shape;
}

function reshape(n: NodeView): Value {
  const x = n.in(0);
  return reshapeTo(n, x, askedShape(n, x));
}

/** Dimensions that a tensor may have. */
const mostDimensions = 64;

/** Throws where a list is no shape of a tensor with elements. */
function requireShape(n: NodeView, shape: readonly Dim[], least: 0 | 1): void {
  const isSize = (d: Dim) => typeof d !== "number" || (Number.isSafeInteger(d) && d >= least);
  if (shape.length > mostDimensions) throw n.fail(`a shape of ${shape.length} dimensions`);
  if (!shape.every(isSize)) throw n.fail(`[${shape.join(", ")}] is no shape`);
}

export function reshapeTo(n: NodeView, x: Value, shape: readonly Dim[]): Value {
  requireShape(n, shape, 0);
  if (productOfDims(shape) !== elements(x)) throw n.fail(`${elements(x)} elements do not fill [${shape.join(", ")}]`);
  if (x.kind === "known") return known(x.type, shape, x.values);
  requireShape(n, shape, 1);
  const plain = (s: readonly Dim[]) => s.filter((d) => d !== 1);
  const [before, after] = [plain(x.shape), plain(shape)];
  if (before.length === after.length && before.every((d, i) => d === after[i])) return viewed(n, shape, x);
  return reshaped(n.tensor(x), shape);
}

function flatten(n: NodeView): Value {
  const x = n.in(0);
  const axis = n.int("axis", 1);
  const at = axis < 0 ? axis + x.shape.length : axis;
  if (!(at >= 0 && at <= x.shape.length)) throw n.fail(`axis ${axis} is none of ${x.shape.length} dimensions`);
  return reshapeTo(n, x, [productOfDims(x.shape.slice(0, at)), productOfDims(x.shape.slice(at))]);
}

function shapeOf(n: NodeView): Value {
  const { shape } = n.in(0);
  const place = (name: string, otherwise: number) => {
    const at = n.int(name, otherwise);
    return Math.min(Math.max(at < 0 ? at + shape.length : at, 0), shape.length);
  };
  const part = shape.slice(place("start", 0), n.has("end") ? place("end", shape.length) : shape.length);
  return known(int64, [part.length], part);
}

function expand(n: NodeView): Value {
  const x = n.in(0);
  const wanted = n.sizesIn(1, "the shape");
  return expandTo(n, x, broadcastShape(n, [x.shape, wanted]));
}

export function expandTo(n: NodeView, x: Value, shape: readonly Dim[]): Value {
  requireShape(n, shape, 1);
  const grown = shape.map((d, i) => d !== (x.shape[i - shape.length + x.shape.length] ?? 1));
  if (!grown.includes(true)) return viewed(n, shape, x);
  const t = n.tensor(x);
  const names = sharedNames(shape, [t]);
  const node = n.named(t, names.slice(shape.length - t.shape.length));
  const axes = shape.flatMap((size, i) => (grown[i] ? [{ name: names[i]!, size }] : []));
  return tensor(t.type, shape, names, ops.broadcast(node, axes));
}

/** Parts one after another; a part of length 1 gets the axis that it lacks. */
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
    throw n.fail("parts have different numbers of dimensions");
  const others = broadcastShape(
    n,
    values.map((v) => v.shape.map((d, i) => (i === at ? 1 : d))),
  );
  const clash = values.find((v) => v.shape.some((d, i) => i !== at && d !== others[i]));
  if (clash) throw n.fail(`a part of [${clash.shape.join(", ")}] does not continue [${first!.shape.join(", ")}]`);
  // Named with the axis in its place, whichever part has it.
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
    throw n.fail(`${parts} parts for ${n.message.output.length} outputs`);
  const exact = quotientOf(size, parts);
  if (exact !== undefined) return Array.from({ length: parts }, () => exact);
  if (typeof size !== "number") throw n.fail(`${size} elements are no ${parts} equal parts`);
  const each = Math.ceil(size / parts);
  return Array.from({ length: parts }, (_, i) => Math.min(each, size - each * i));
}

/** `length` elements of a dimension from `start`. */
export function rangeOf(n: NodeView, value: Value, at: number, start: Dim, length: Dim): Value {
  if (length === 0) return empty(n, value, at);
  const size = value.shape[at]!;
  if (start === 0 && length === size) return value;
  const x = n.tensor(value);
  if (size === 1) throw n.fail(`elements ${start} to ${length} of a dimension of 1`);
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

/** Nothing of a dimension: known, as a list of no sizes is. */
function empty(n: NodeView, value: Value, at: number): Value {
  const shape = value.shape.map((d, i) => (i === at ? 0 : d));
  if (!isNumbers(shape)) throw n.fail("nothing is left of a tensor");
  return known(value.type, shape, []);
}

function slice(n: NodeView): Value {
  let x = n.in(0);
  const starts = n.sizes(1, "starts") ?? [...(n.ints("starts") ?? [])];
  const ends = n.sizes(2, "ends") ?? [...(n.ints("ends") ?? [])];
  const axes = n.dims(n.list("axes", 3) ?? starts.map((_, i) => i), x.shape.length);
  const steps = n.numbers(4, "steps") ?? starts.map(() => 1);
  if ([ends, axes, steps].some((list) => list.length !== starts.length))
    throw n.fail(`${starts.length} starts, ${ends.length} ends, ${axes.length} axes and ${steps.length} steps`);
  axes.forEach((at, i) => {
    x = steppedRange(n, x, at, starts[i]!, ends[i]!, steps[i]!);
  });
  return x;
}

function steppedRange(n: NodeView, x: Value, at: number, start: Dim, end: Dim, step: number): Value {
  const size = x.shape[at]!;
  if (step === 0) throw n.fail("a step is 0");
  if (step > 0) {
    const [from, to] = [bounded(n, start, size), bounded(n, end, size)];
    const span = subDims(to, from);
    if (typeof span === "number" && span <= 0) return empty(n, x, at);
    if (step === 1) return rangeOf(n, x, at, from, span);
    if (typeof span !== "number") throw n.fail(`every ${step} of ${span} elements: give the open sizes when importing`);
    requireFew(n, span / step);

    return chosen(
      n,
      x,
      at,
      Array.from({ length: Math.ceil(span / step) }, (_, i) => (from as number) + i * step),
    );
  }
  if (typeof size !== "number")
    throw n.fail(`a dimension of ${size} elements is read backwards: give the open sizes when importing`);
  const place = (d: Dim) => {
    if (typeof d !== "number")
      throw n.fail(`a range read backwards begins or ends at ${d}: give the open sizes when importing`);
    return Math.min(Math.max(d < 0 ? d + size : d, -1), size - 1);
  };
  const [from, to] = [place(start), place(end)];
  const count = Math.max(0, Math.ceil((from - to) / -step));
  requireFew(n, count);
  return count === 0
    ? empty(n, x, at)
    : chosen(
        n,
        x,
        at,
        Array.from({ length: count }, (_, i) => from + i * step),
      );
}

/** Places that a table may list. */
const mostPlaces = 2 ** 20;

function requireFew(n: NodeView, count: number): void {
  if (!(count <= mostPlaces)) throw n.fail(`a choice of ${count} elements, one by one`);
}

/** A place of a dimension, counted from either end and kept inside. */
function bounded(n: NodeView, place: Dim, size: Dim): Dim {
  const from = typeof place === "number" && place < 0 ? subDims(size, -place) : place;
  if (certainly(0, ">=", from)) return 0;
  if (certainly(from, ">=", size) || (typeof place === "number" && place >= 2 ** 31 - 1)) return size;
  if (typeof from !== "number" && typeof size === "number") return from; // a run whose sizes do not fit is refused
  if (certainly(size, ">=", from) && certainly(from, ">=", 0)) return from;
  throw n.fail(`whether element ${from} is one of ${size} depends on open sizes: give them when importing`);
}

/** Elements of a dimension by their places. */
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
  const repeats = n.numbersIn(1, "repeats");
  let x = n.in(0);
  repeats.forEach((times, at) => {
    x = repeated(n, x, at, times);
  });
  return x;
}

function repeated(n: NodeView, value: Value, at: number, times: number): Value {
  if (times === 1) return value;
  if (times < 1) throw n.fail(`a dimension is repeated ${times} times`);
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

function constantOfShape(n: NodeView): Value {
  const shape = n.sizesIn(0, "the shape");
  const value = n.knownAttribute("value") ?? known(float, [1], [0]);
  requireShape(n, shape, 0);
  const scalar = known(value.type, [], [value.values[0] ?? 0]);
  if (shape.includes(0)) return known(value.type, shape, []);
  return expandTo(n, scalar, shape);
}

/** Numbers of a first one, a limit and a step, where how many there are is known. */
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
  if (typeof step !== "number" || step === 0) throw n.fail(`the step is ${step}`);
  const span = subDims(limit, start);
  if (typeof span === "number") return Math.max(0, Math.ceil(span / step));
  const length = quotientOf(span, step);
  if (length === undefined)
    throw n.fail(`how many numbers there are from ${start} to ${limit} by ${step} depends on open sizes`);
  return length;
}

function depthToSpace(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const [batch, channel, row, column] = four(n, x);
  const block = n.int("blocksize");
  const each = quotientOf(channel, block * block);
  if (each === undefined) throw n.fail(`${channel} channels are no multiple of ${block * block}`);
  const isDcr = n.text("mode", "DCR") === "DCR";
  const apart = reshapeTo(
    n,
    x,
    isDcr ? [batch, block, block, each, row, column] : [batch, each, block, block, row, column],
  );
  const order = isDcr ? [0, 3, 4, 1, 5, 2] : [0, 1, 4, 2, 5, 3];
  const moved = permuted(n, apart, order);
  return reshapeTo(n, moved, [batch, each, productOfDims([row, block]), productOfDims([column, block])]);
}

function spaceToDepth(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const [batch, channel, row, column] = four(n, x);
  const block = n.int("blocksize");
  const [rows, columns] = [quotientOf(row, block), quotientOf(column, block)];
  if (rows === undefined || columns === undefined)
    throw n.fail(`a map of ${row} by ${column} is no multiple of ${block}`);
  const apart = reshapeTo(n, x, [batch, channel, rows, block, columns, block]);
  const order = n.text("mode", "DCR") === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return reshapeTo(n, permuted(n, apart, order), [batch, productOfDims([channel, block * block]), rows, columns]);
}

function four(n: NodeView, x: Tensor): [Dim, Dim, Dim, Dim] {
  if (x.shape.length !== 4) throw n.fail(`${x.shape.length} dimensions, where four are needed`);
  return [...x.shape] as [Dim, Dim, Dim, Dim];
}

export function permuted(n: NodeView, value: Value, order: readonly number[]): Tensor {
  const x = n.tensor(value);
  const dims = dimsOf(x);
  return withShape(
    x,
    order.map((i) => dims[i]!),
  );
}

/** Elements of one dimension backwards, as far as each row says. */
function reverseSequence(n: NodeView): Value {
  const x = n.x(0, ["time", "batch", "axis"]);
  const [time, batch] = [n.dim(n.int("time_axis", 0), x.shape.length), n.dim(n.int("batch_axis", 1), x.shape.length)];
  if (x.shape[time] === 1) return x;
  const along = x.axes[time]!;
  const lengths = n.named(n.in(1), [x.axes[batch]]);
  const own = freshName(along, x.axes);
  const place = ops.iota({ name: own, size: x.shape[time]! }, "i32");
  const from = ops.select(ops.lt(place, lengths), ops.sub(ops.sub(lengths, 1), place), place);
  return tensor(x.type, x.shape, x.axes, ops.rename(ops.gather(x.node, from, along), own, along));
}

/** The lower or upper triangle of the last two dimensions. */
function trilu(n: NodeView): Value {
  const x = n.x(0);
  const rank = x.shape.length;
  if (rank < 2) throw n.fail("a triangle has two dimensions");
  const k = n.numbers(1, "k")?.[0] ?? 0;
  const position = (i: number): Node =>
    x.axes[i] === undefined ? ops.constant(0, "i32") : ops.iota({ name: x.axes[i], size: x.shape[i]! }, "i32");
  const beyond = ops.sub(position(rank - 1), position(rank - 2)); // column − row
  const bound = Math.min(Math.max(k, -(2 ** 30)), 2 ** 30);
  const inside = n.flag("upper", true) ? ops.ge(beyond, bound) : ops.le(beyond, bound);
  const zero = ops.cast(ops.constant(0, "i32"), x.type.dtype);
  return tensor(
    x.type,
    x.shape,
    x.axes,
    ops.select(inside, x.node, x.type.dtype === "i32" ? ops.constant(0, "i32") : zero),
  );
}

function eyeLike(n: NodeView): Value {
  const x = n.in(0);
  if (x.shape.length !== 2) throw n.fail(`${x.shape.length} dimensions, where two are needed`);
  const type = n.has("dtype") ? elementType(n.int("dtype"), "the result") : x.type;
  const names = sharedNames(x.shape, [x]);
  const position = (i: number): Node =>
    x.shape[i] === 1 ? ops.constant(0, "i32") : ops.iota({ name: names[i]!, size: x.shape[i]! }, "i32");
  const hit = ops.eq(ops.sub(position(1), position(0)), n.int("k", 0));
  return tensor(type, x.shape, names, ops.cast(hit, type.dtype));
}

export const shapeRecords: Records = {
  Shape: { build: shapeOf, unfolded: true },
  Size: { build: (n) => known(int64, [], [elements(n.in(0))]), unfolded: true },
  Reshape: { build: reshape, moves: true },
  Flatten: { build: flatten, moves: true },
  Squeeze: { build: squeeze, moves: true },
  Unsqueeze: { build: unsqueeze, moves: true },
  Transpose: { build: transpose, moves: true },
  Expand: { build: expand, moves: true },
  Concat: { build: concat, moves: true },
  Split: { build: split, moves: true },
  Slice: { build: slice, moves: true },
  Tile: { build: tile, moves: true },
  ConstantOfShape: { build: constantOfShape },
  Range: { build: range },
  DepthToSpace: { build: depthToSpace },
  SpaceToDepth: { build: spaceToDepth },
  ReverseSequence: { build: reverseSequence },
  Trilu: { build: trilu },
  EyeLike: { build: eyeLike },
};
