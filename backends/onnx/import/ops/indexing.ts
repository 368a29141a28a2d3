/** Gathers, scatters and padding. */
import { addDims, type Dim, type Node, ops, productOfDims, subDims } from "../../../../compiler/index.ts";
import { namesOf, sharedNames } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, isNumbers, known, knownOf, type Tensor, tensor, type Value } from "../values.ts";
import { chosen, rangeOf } from "./ranges.ts";
import { expandTo, reshapeTo } from "./shapes.ts";

const { add, cast, eq, lt, mul, reduceMax, reduceMin, reduceProd, reduceSum, select, sub } = ops;

/** Normalizes negative indices. */
function fromStart(n: NodeView, index: Value, size: Dim): Value {
  const found = knownOf(index);
  if (found && isNumbers(found.values) && typeof size === "number") {
    const places = Float64Array.from(found.values, (v) => (v < 0 ? v + size : v));
    if (places.some((v) => !(v >= 0 && v < size)))
      throw n.fail(`an index is out of range for a dimension of size ${size}`);
    return known(index.type, index.shape, places);
  }
  const x = n.tensor(index);
  if (x.node.type.dtype === "u32") return x;
  return { ...x, node: select(lt(x.node, 0), add(x.node, ops.sizeOf(size, "i32")), x.node) };
}

/** Gathers along one dimension. */
const gather = (n: NodeView): Value => gatherAlong(n, n.in(0), n.in(1), n.int("axis", 0));

/** The slices of `data` at `places` of a dimension, which count from its end where they are negative. */
export function gatherAlong(n: NodeView, data: Value, places: Value, axis: number): Value {
  const at = n.dim(axis, data.shape.length);
  const index = fromStart(n, places, data.shape[at]!);
  const constant = knownOf(index);
  if (constant && index.shape.length <= 1 && isNumbers(constant.values)) {
    const list = Array.from(constant.values);
    if (index.shape.length === 0) return without(n, rangeOf(n, data, at, list[0]!, 1), at);
    if (list.length > 0 && list.length <= 64) return chosen(n, data, at, list);
  }
  const shape = [...data.shape.slice(0, at), ...index.shape, ...data.shape.slice(at + 1)];
  if (data.shape[at] === 1) {
    const alone = n.tensor(data);
    const names = sharedNames(shape, []);
    const own = shape.map((_, i) =>
      i < at ? alone.axes[i] : i < at + index.shape.length ? names[i] : alone.axes[i - index.shape.length + 1],
    );
    const made = tensor(
      data.type,
      shape.map((d, i) => (i >= at && i < at + index.shape.length ? 1 : d)),
      own,
      alone.node,
    );
    return expandTo(n, made, shape);
  }
  const table = n.tensor(data, ["row", "embed"], namesOf([index]));
  const i = n.tensor(index, ["place"], table.axes);
  // The table's axes are distinct from the index's of the same name, so rename them.
  const taken: (string | undefined)[] = [...i.axes];
  const names = table.axes.map((name) => {
    if (name === undefined) return undefined;
    const own = i.axes.includes(name) ? freshName(name, [...taken, ...table.axes]) : name;
    taken.push(own);
    return own;
  });
  const node = ops.gather(n.named(table, names), asIndex(i.node), names[at]!);
  return tensor(data.type, shape, [...names.slice(0, at), ...i.axes, ...names.slice(at + 1)], node);
}

const asIndex = (x: Node): Node => (x.type.dtype === "i32" || x.type.dtype === "u32" ? x : cast(x, "i32"));

/** Removes a size-1 dimension. */
function without(n: NodeView, value: Value, at: number): Value {
  return reshapeTo(
    n,
    value,
    value.shape.filter((_, i) => i !== at),
  );
}

/** Gathers one element along a dimension for each position of the result. */
function gatherElements(n: NodeView): Value {
  let data = n.in(0);
  const rank = data.shape.length;
  const at = n.dim(n.int("axis", 0), rank);
  const index = fromStart(n, n.in(1), data.shape[at]!);
  if (index.shape.length !== rank)
    throw n.fail(`an index of ${index.shape.length} dimensions does not match data of ${rank}`);
  for (let d = 0; d < rank; d++)
    if (d !== at && index.shape[d] !== data.shape[d]) data = rangeOf(n, data, d, 0, index.shape[d]!);
  if (data.shape[at] === 1) return expandTo(n, data, index.shape);
  const table = n.tensor(data);
  const own = freshName(table.axes[at]!, table.axes);
  const names = table.axes.map((name, d) => (d === at ? own : name));
  return tensor(data.type, index.shape, names, ops.gather(table.node, asIndex(n.named(index, names)), table.axes[at]!));
}

/** Flattens multi-dimensional indices into linear ones: [..., last] -> [...]. */
function flatPlaces(n: NodeView, index: Value, sizes: readonly Dim[]): Tensor {
  const last = index.shape.length - 1;
  const depth = index.shape[last];
  if (typeof depth !== "number") throw n.fail(`unsupported index of ${depth} dimensions`);
  const shape = index.shape.slice(0, -1);
  const parts = Array.from({ length: depth }, (_, k) => {
    const part = n.tensor(reshapeTo(n, rangeOf(n, index, last, k, 1), shape));
    return n.tensor(fromStart(n, part, sizes[k]!));
  });
  let sum: Node | undefined;
  for (const [k, part] of parts.entries()) {
    const places = asIndex(renamedLike(n, part, parts[0]!));
    const step = productOfDims(sizes.slice(k + 1, depth));
    const term = step === 1 ? places : mul(places, ops.sizeOf(step, "i32"));
    sum = sum ? add(sum, term) : term;
  }
  return { ...parts[0]!, node: sum! };
}

const renamedLike = (n: NodeView, x: Tensor, like: Tensor): Node => n.named(x, like.axes);

/** Gathers slices at multi-dimensional indices. */
function gatherNd(n: NodeView): Value {
  const data = n.x(0);
  const index = n.in(1);
  const batch = n.int("batch_dims", 0);
  const depth = index.shape.at(-1);
  if (typeof depth !== "number" || !(depth >= 1 && depth + batch <= data.shape.length))
    throw n.fail(`an index of ${depth} dimensions does not match data of ${data.shape.length}`);
  const inner = data.shape.slice(batch, batch + depth);
  const rest = data.shape.slice(batch + depth);
  const flat = n.tensor(reshapeTo(n, data, [...data.shape.slice(0, batch), productOfDims(inner), ...rest]));
  const places = flatPlaces(n, n.tensor(index, ["place"], data.axes), inner);
  const shape = [...places.shape, ...rest];
  const along = flat.axes[batch];
  const taken = [...flat.axes];
  const names = places.axes.map((name, i) => {
    if (i < batch) return flat.axes[i];
    if (name === undefined) return undefined;
    const own = freshName(name, taken);
    taken.push(own);
    return own;
  });
  if (along === undefined)
    return expandTo(
      n,
      tensor(
        data.type,
        [...places.shape.map((d, i) => (i < batch ? d : 1)), ...rest],
        [...names, ...flat.axes.slice(batch + 1)],
        flat.node,
      ),
      shape,
    );
  const node = ops.gather(flat.node, asIndex(n.named(places, names)), along);
  return tensor(data.type, shape, [...names, ...flat.axes.slice(batch + 1)], node);
}

/** How updates of one position combine with each other and with the previous value. */
interface Combine {
  readonly reduce: (x: Node, over: readonly string[]) => Node;
  readonly neutral: (dtype: Node["type"]["dtype"]) => number;
  readonly join: (kept: Node, update: Node) => Node;
}

const extremes = { f32: 3.4028234663852886e38, f16: 65504, i32: 2 ** 31 - 1, u32: 2 ** 32 - 1, bool: 1 } as const;
const combines: Readonly<Record<string, Combine>> = {
  add: { reduce: (x, over) => reduceSum(x, over), neutral: () => 0, join: (a, b) => add(a, b) },
  mul: { reduce: (x, over) => reduceProd(x, over), neutral: () => 1, join: (a, b) => mul(a, b) },
  max: {
    reduce: (x, over) => reduceMax(x, over),
    neutral: (t) => (t === "u32" || t === "bool" ? 0 : -extremes[t]),
    join: (a, b) => ops.max(a, b),
  },
  min: { reduce: (x, over) => reduceMin(x, over), neutral: (t) => extremes[t], join: (a, b) => ops.min(a, b) },
};

/**
 * Scatters rows of `updates` along `from` to the positions `places` along `to` of `kept`, as a masked reduction over
 * [to, from], which fusion never materializes.
 */
function scattered(n: NodeView, kept: Node, updates: Node, places: Node, to: string, from: string, how: string): Node {
  const size = kept.type.axes.find((a) => a.name === to)!.size;
  const dtype = kept.type.dtype;
  const mine = eq(ops.iota({ name: to, size }, "i32"), asIndex(places));
  if (how === "none") {
    // With duplicate indices the last update wins, as in onnxruntime; the standard leaves it undefined.
    const order = ops.iota({ name: from, size: updates.type.axes.find((a) => a.name === from)!.size }, "i32");
    const last = reduceMax(select(mine, order, -1), [from]);
    const written = ops.gather(updates, ops.max(last, 0), from);
    return select(ops.ge(last, 0), written, kept);
  }
  const found = Object.hasOwn(combines, how) ? combines[how]! : undefined;
  if (!found) throw n.fail(`unsupported reduction "${how}" of updates`);
  const neutral = ops.constant(found.neutral(dtype), dtype);
  return found.join(kept, found.reduce(select(mine, updates, neutral), [from]));
}

function scatterElements(n: NodeView): Value {
  const data = n.x(0);
  const rank = data.shape.length;
  const at = n.dim(n.int("axis", 0), rank);
  const index = fromStart(n, n.in(1), data.shape[at]!);
  const updates = n.in(2);
  if (index.shape.length !== rank || updates.shape.length !== rank)
    throw n.fail(`updates of ${updates.shape.length} dimensions do not match data of ${rank}`);
  // Positions beyond the updates' extent keep their previous values.
  const names = data.shape.map((_, d) => data.axes[d] ?? freshName(`side_${d}`, data.axes));
  const own = freshName(names[at]!, names);
  const ones = data.shape.flatMap((d, i) => (d === 1 ? [{ name: names[i]!, size: 1 }] : []));
  const kept = ops.broadcast(data.node, ones);
  const spread = (value: Value): Node => {
    const to = names.map((name, d) => (d === at ? own : name));
    let node = n.named(value, to);
    for (const [d, size] of value.shape.entries())
      if (size === 1) node = ops.broadcast(node, [{ name: to[d]!, size: 1 }]);
    for (const [d, size] of value.shape.entries())
      if (d !== at && size !== data.shape[d]) node = ops.pad(node, to[d]!, 0, subDims(data.shape[d]!, size), 0);
    return node;
  };
  let places = spread({ ...n.tensor(index) });
  for (const [d, size] of index.shape.entries()) {
    if (d === at || size === data.shape[d]) continue;
    const inside = lt(ops.iota({ name: names[d]!, size: data.shape[d]! }, "i32"), ops.sizeOf(size, "i32"));
    places = select(inside, asIndex(places), -1);
  }
  let node = scattered(n, kept, spread(updates), places, names[at]!, own, n.text("reduction", "none"));
  for (const { name } of ones) node = ops.dropAxis(node, name);
  return tensor(data.type, data.shape, data.axes, node);
}

function scatterNd(n: NodeView): Value {
  const data = n.x(0);
  const index = n.in(1);
  const depth = index.shape.at(-1);
  if (typeof depth !== "number" || !(depth >= 1 && depth <= data.shape.length))
    throw n.fail(`an index of ${depth} dimensions does not match data of ${data.shape.length}`);
  const inner = data.shape.slice(0, depth);
  const rest = data.shape.slice(depth);
  const flat = n.tensor(reshapeTo(n, data, [productOfDims(inner), ...rest]));
  const places = flatPlaces(n, n.tensor(index, ["place"], flat.axes), inner);
  const count = productOfDims(places.shape);
  const list = n.tensor(reshapeTo(n, places, [count]));
  const updates = n.tensor(reshapeTo(n, n.tensor(n.in(2), ["place"], flat.axes), [count, ...rest]));
  const to = flat.axes[0] ?? freshName("side_0", flat.axes);
  const from = freshName("update", [...flat.axes, to]);
  const whole = (node: Node, axis: string, size: Dim) =>
    size === 1 ? ops.broadcast(node, [{ name: axis, size: 1 }]) : node;
  const kept = whole(flat.node, to, flat.shape[0]!);
  const given = whole(n.named(updates, [from, ...flat.axes.slice(1)]), from, count);
  const named = whole(n.named(list, [from]), from, count);
  const made = scattered(n, kept, given, named, to, from, n.text("reduction", "none"));
  const node = flat.shape[0] === 1 ? ops.dropAxis(made, to) : made;
  return reshapeTo(n, { ...flat, node }, data.shape);
}

function oneHot(n: NodeView): Value {
  const depth = n.numbersIn(1, "the depth")[0]!;
  const index = n.x(0, ["place"]);
  const rank = index.shape.length + 1;
  const at = n.dim(n.int("axis", -1), rank);
  if (!(Number.isInteger(depth) && depth >= 1 && depth < 2 ** 31))
    throw n.fail(`the depth must be a positive integer, got ${depth}`);
  const name = freshName("class", index.axes);
  const places = asIndex(index.node);
  const inside = select(lt(places, 0), add(places, depth), places);
  const hit = depth === 1 ? eq(inside, 0) : eq(ops.iota({ name, size: depth }, "i32"), inside);
  const values = n.in(2);
  const value = (k: number) => n.named(without(n, rangeOf(n, n.tensor(values), 0, k, 1), 0), []);
  const shape = [...index.shape.slice(0, at), depth, ...index.shape.slice(at)];
  return tensor(
    values.type,
    shape,
    [...index.axes.slice(0, at), name, ...index.axes.slice(at)],
    select(hit, value(1), value(0)),
  );
}

/** Pads each dimension; negative amounts crop. */
function pad(n: NodeView): Value {
  let x = n.in(0);
  const rank = x.shape.length;
  const pads = n.sizes(1, "pads") ?? [...(n.ints("pads") ?? [])];
  const axes = n.inputs[3] ? n.dims(n.numbersIn(3, "axes"), rank) : Array.from({ length: rank }, (_, i) => i);
  if (pads.length !== 2 * axes.length) throw n.fail(`got ${pads.length} pads for ${axes.length} dimensions`);
  const mode = n.text("mode", "constant");
  axes.forEach((at, i) => {
    x = padded(n, x, at, pads[i]!, pads[i + axes.length]!, mode);
  });
  return x;
}

const isNegative = (d: Dim): boolean => typeof d === "number" && d < 0;

function padded(n: NodeView, value: Value, at: number, low: Dim, high: Dim, mode: string): Value {
  if (isNegative(low) || isNegative(high)) {
    const [from, after] = [low, high].map((d) => (isNegative(d) ? -d : 0)) as [number, number];
    const cut = rangeOf(n, value, at, from, subDims(value.shape[at]!, from + after));
    return padded(n, cut, at, isNegative(low) ? 0 : low, isNegative(high) ? 0 : high, mode);
  }
  if (low === 0 && high === 0) return value;
  const size = value.shape[at]!;
  if (mode !== "constant") return chosen(n, value, at, mirrored(n, size, low, high, mode));
  const x = n.tensor(value);
  const axis = x.axes[at] ?? freshName(`side_${at}`, x.axes);
  const node = size === 1 ? ops.broadcast(x.node, [{ name: axis, size: 1 }]) : x.node;
  const shape = x.shape.map((d, i) => (i === at ? addDims(d, addDims(low, high)) : d));
  const names = x.axes.map((name, i) => (i === at ? axis : name));
  return tensor(x.type, shape, names, filled(n, node, axis, low, high, size));
}

function filled(n: NodeView, node: Node, axis: string, low: Dim, high: Dim, size: Dim): Node {
  const value =
    n.inputs[2] && n.message.opType === "Pad"
      ? knownOf(n.inputs[2])
      : known(n.in(0).type, [], [n.has("value") ? n.float("value") : 0]);
  const number = value?.values[0] ?? 0;
  const isBool = node.type.dtype === "bool";
  if (value && typeof number === "number" && !isBool) return ops.pad(node, axis, low, high, number);
  if (isBool) return cast(ops.pad(cast(node, "i32"), axis, low, high, Number(number)), "bool");
  // The fill value is known only at run time: select it outside the original range.
  const whole = addDims(size, addDims(low, high));
  const place = ops.iota({ name: axis, size: whole }, "i32");
  const inside = ops.and(ops.ge(place, ops.sizeOf(low, "i32")), lt(place, ops.sizeOf(addDims(low, size), "i32")));
  return select(inside, ops.pad(node, axis, low, high), n.named(without0(n, n.in(2)), []));
}

const without0 = (n: NodeView, value: Value): Value => (value.shape.length === 0 ? value : reshapeTo(n, value, []));

/** Source indices for reflect, edge and wrap padding. */
function mirrored(n: NodeView, size: Dim, low: Dim, high: Dim, mode: string): number[] {
  if (typeof size !== "number" || typeof low !== "number" || typeof high !== "number")
    throw n.fail(`${mode} padding needs numeric sizes, got ${size}: ${n.toGive(size, low, high)}`);
  if (low + high + size > 2 ** 20) throw n.fail(`${mode} padding to ${low + high + size} elements is too large`);
  const place: Readonly<Record<string, (i: number) => number>> = {
    edge: (i) => Math.min(Math.max(i, 0), size - 1),
    wrap: (i) => ((i % size) + size) % size,
    reflect: (i) => {
      const period = Math.max(1, 2 * (size - 1));
      const at = ((i % period) + period) % period;
      return at < size ? at : period - at;
    },
  };
  const find = Object.hasOwn(place, mode) ? place[mode] : undefined;
  if (!find) throw n.fail(`unsupported padding mode "${mode}"`);
  return Array.from({ length: low + size + high }, (_, i) => find(i - low));
}

/** Crops or zero-pads a tensor around its center. */
function centerCropPad(n: NodeView): Value {
  let x = n.in(0);
  const rank = x.shape.length;
  const sizes = n.numbersIn(1, "the shape");
  const axes = n.ints("axes") ? n.dims(n.ints("axes")!, rank) : Array.from({ length: rank }, (_, i) => i);
  axes.forEach((at, i) => {
    const [own, wanted] = [x.shape[at]!, sizes[i]!];
    if (typeof own !== "number") throw n.fail(`a dimension must be a number, got ${own}: ${n.toGive(own)}`);
    const less = own - wanted;
    x =
      less >= 0
        ? rangeOf(n, x, at, Math.floor(less / 2), wanted)
        : padded(n, x, at, Math.floor(-less / 2), -less - Math.floor(-less / 2), "constant");
  });
  return x;
}

/** Selects elements by a constant condition. */
function compress(n: NodeView): Value {
  const flags = n.numbersIn(1, "the condition");
  const places = flags.flatMap((f, i) => (f ? [i] : []));
  if (places.length === 0) throw n.fail("the result is an empty tensor");
  if (n.has("axis")) return chosen(n, n.in(0), n.dim(n.int("axis"), n.in(0).shape.length), places);
  const x = n.x(0);
  return chosen(n, reshapeTo(n, x, [productOfDims(x.shape)]), 0, places);
}

/** Writes updates into a cache at a per-sample position. */
function tensorScatter(n: NodeView): Value {
  const cache = n.x(0, ["batch", "head", "token", "embed"]);
  const update = n.in(1);
  const at = n.dim(n.int("axis", -2), cache.shape.length);
  const size = cache.shape[at]!;
  const axis = cache.axes[at];
  if (axis === undefined) return update;
  const own = freshName(axis, cache.axes);
  const length = update.shape[at]!;
  const given = n.named(
    update,
    cache.axes.map((name, i) => (i === at ? own : name)),
  );
  const range = length === 1 ? ops.broadcast(given, [{ name: own, size: 1 }]) : given;
  const start = n.inputs[2] ? asIndex(n.named(n.in(2), [cache.axes[0]])) : ops.constant(0, "i32");
  const ahead = sub(ops.iota({ name: axis, size }, "i32"), start);
  const circular = n.text("mode", "linear") === "circular";
  const whole = ops.sizeOf(size, "i32");
  const offset = circular ? ops.mod(add(ops.mod(ahead, whole), whole), whole) : ahead;
  const inside = ops.and(ops.ge(offset, 0), lt(offset, ops.sizeOf(length, "i32")));
  return { ...cache, node: select(inside, ops.gather(range, offset, own), cache.node) };
}

export const indexingRecords: Records = {
  Gather: { build: gather, moves: true },
  GatherElements: { build: gatherElements },
  GatherND: { build: gatherNd },
  Scatter: { build: scatterElements },
  ScatterElements: { build: scatterElements },
  ScatterND: { build: scatterNd },
  TensorScatter: { build: tensorScatter },
  OneHot: { build: oneHot },
  Pad: { build: pad },
  CenterCropPad: { build: centerCropPad },
  Compress: { build: compress },
};
