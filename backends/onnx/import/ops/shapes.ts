/** Shape operators: most only remap dimensions to axes and create no node. */
import { type Dim, divideDims, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { broadcastShape, sharedNames } from "../broadcast.ts";
import { elementType, float, int64 } from "../elements.ts";
import { type NodeView, withShape } from "../node-view.ts";
import type { Records } from "../record.ts";
import { reshaped } from "../reshape.ts";
import { elements, freshName, known, type Stored, type Tensor, tensor, type Value } from "../values.ts";

/** A tensor's dimensions with their axes. */
const dimsOf = (x: Tensor) => x.shape.map((size, i) => [size, x.axes[i]] as const);

/** Inserts or removes size-1 dimensions; a stored value stays stored. */
function viewed(n: NodeView, shape: readonly Dim[], x: Value): Value {
  if (x.kind === "known") return known(x.type, shape, x.values);
  if (x.kind === "stored")
    return { ...x, shape, ...(x.known && { known: known(x.type, shape, x.known.values) }) } satisfies Stored;
  const axes = x.axes.filter((a) => a !== undefined);
  if (shape.filter((d) => d !== 1).length !== axes.length) throw n.fail("a squeezed dimension is not 1");
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
  if (rank > mostDimensions) throw n.fail(`a shape of ${rank} dimensions is not supported`);
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
  if (perm.some((d) => d < 0)) throw n.fail(`perm is [${perm.join(", ")}]; expected dimensions from 0`);
  if (perm.length !== rank) throw n.fail(`perm has ${perm.length} dimensions, but the input has ${rank}`);
  const dims = dimsOf(x);
  return withShape(
    x,
    n.dims(perm, rank).map((p) => dims[p]!),
  );
}

/** Reshape's target shape: 0 copies a dimension, -1 is inferred. */
function askedShape(n: NodeView, x: Value): Dim[] {
  const asked = n.sizes(1, "the shape") ?? [...(n.ints("shape") ?? [])];
  const shape = asked.map((d, i) => {
    if (d !== 0 || n.flag("allowzero")) return d;
    if (x.shape[i] === undefined) throw n.fail(`the shape keeps dimension ${i}, which the input does not have`);
    return x.shape[i]!;
  });
  const unknown = shape.indexOf(-1);
  if (unknown < 0) return shape;
  const rest = productOfDims(shape.filter((_, i) => i !== unknown));
  const left = rest === 0 ? undefined : divideDims(elements(x), rest);
  if (left === undefined)
    throw n.fail(`${elements(x)} elements are not a multiple of ${rest}: ${n.toGive(elements(x), rest)}`);
  shape[unknown] = left;
  return shape;
}

function reshape(n: NodeView): Value {
  const x = n.in(0);
  return reshapeTo(n, x, askedShape(n, x));
}

/** Limit on a tensor's rank. */
const mostDimensions = 64;

/** Throws if a list is not a valid shape with sizes of at least `least`. */
function requireShape(n: NodeView, shape: readonly Dim[], least: 0 | 1): void {
  const isSize = (d: Dim) => typeof d !== "number" || (Number.isSafeInteger(d) && d >= least);
  if (shape.length > mostDimensions) throw n.fail(`a shape of ${shape.length} dimensions is not supported`);
  if (!shape.every(isSize)) throw n.fail(`[${shape.join(", ")}] is not a valid shape`);
}

/** Exporters bake the sizes of their example into shapes, so that only these fit. */
function unfilled(n: NodeView, x: Value, shape: readonly Dim[]): string {
  const [count, wanted] = [elements(x), productOfDims(shape)];
  const why = `${count} elements do not fill [${shape.join(", ")}]`;
  if (typeof count === "number" && typeof wanted === "number") return why;
  return `${why} for all sizes; if the file fits some only, ${n.toGive(count, wanted)}`;
}

export function reshapeTo(n: NodeView, x: Value, shape: readonly Dim[]): Value {
  requireShape(n, shape, 0);
  if (productOfDims(shape) !== elements(x)) throw n.fail(unfilled(n, x, shape));
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
  if (!(at >= 0 && at <= x.shape.length)) throw n.fail(`axis ${axis} is out of range for ${x.shape.length} dimensions`);
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
  requireShape(n, shape, 0);
  if (shape.includes(0)) return known(x.type, shape, []);
  const grown = shape.map((d, i) => d !== (x.shape[i - shape.length + x.shape.length] ?? 1));
  if (!grown.includes(true)) return viewed(n, shape, x);
  const t = n.tensor(x);
  const names = sharedNames(shape, [t]);
  const node = n.named(t, names.slice(shape.length - t.shape.length));
  const axes = shape.flatMap((size, i) => (grown[i] ? [{ name: names[i]!, size }] : []));
  return tensor(t.type, shape, names, ops.broadcast(node, axes));
}

function constantOfShape(n: NodeView): Value {
  const shape = n.sizesIn(0, "the shape");
  const value = n.knownAttribute("value") ?? known(float, [1], [0]);
  requireShape(n, shape, 0);
  const scalar = known(value.type, [], [value.values[0] ?? 0]);
  if (shape.includes(0)) return known(value.type, shape, []);
  return expandTo(n, scalar, shape);
}

function depthToSpace(n: NodeView): Value {
  const x = n.x(0, ["batch", "channel", "row", "column"]);
  const [batch, channel, row, column] = four(n, x);
  const block = n.int("blocksize");
  const each = divideDims(channel, block * block);
  if (each === undefined) throw n.fail(`${channel} channels are not a multiple of ${block * block}`);
  const isDcr = n.choice("mode", "DCR", ["DCR", "CRD"]) === "DCR";
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
  const [rows, columns] = [divideDims(row, block), divideDims(column, block)];
  if (rows === undefined || columns === undefined)
    throw n.fail(`a map of ${row} by ${column} is not a multiple of ${block}`);
  const apart = reshapeTo(n, x, [batch, channel, rows, block, columns, block]);
  const order = n.choice("mode", "DCR", ["DCR", "CRD"]) === "CRD" ? [0, 1, 3, 5, 2, 4] : [0, 3, 5, 1, 2, 4];
  return reshapeTo(n, permuted(n, apart, order), [batch, productOfDims([channel, block * block]), rows, columns]);
}

function four(n: NodeView, x: Tensor): [Dim, Dim, Dim, Dim] {
  if (x.shape.length !== 4) throw n.fail(`expected four dimensions, got ${x.shape.length}`);
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

/** Reverses a prefix of one dimension, with a length per batch element. */
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

/** Keeps the lower or upper triangle of the last two dimensions. */
function trilu(n: NodeView): Value {
  const x = n.x(0);
  const rank = x.shape.length;
  if (rank < 2) throw n.fail("the input must have at least two dimensions");
  const k = n.number(1, "k") ?? 0;
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
  if (x.shape.length !== 2) throw n.fail(`expected two dimensions, got ${x.shape.length}`);
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
  ConstantOfShape: { build: constantOfShape },
  DepthToSpace: { build: depthToSpace },
  SpaceToDepth: { build: spaceToDepth },
  ReverseSequence: { build: reverseSequence },
  Trilu: { build: trilu },
  EyeLike: { build: eyeLike },
};
