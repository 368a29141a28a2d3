/** Scattering by indices: writes updates into a tensor. */
import { type Dim, finiteRange, type Node, ops, productOfDims, subDims } from "../../../../compiler/index.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { elements, freshName, tensor, type Value } from "../values.ts";
import { asIndex, flatPlaces, fromStart } from "./indexing.ts";
import { reshapeTo } from "./shapes.ts";

const { add, eq, lt, mul, reduceMax, reduceMin, reduceProd, reduceSum, select, sub } = ops;

/** How updates of one position combine with each other and with the previous value. */
interface Combine {
  readonly reduce: (x: Node, over: readonly string[]) => Node;
  readonly neutral: (dtype: Node["type"]["dtype"]) => number;
  readonly join: (kept: Node, update: Node) => Node;
}

const combines: Readonly<Record<string, Combine>> = {
  add: { reduce: (x, over) => reduceSum(x, over), neutral: () => 0, join: (a, b) => add(a, b) },
  mul: { reduce: (x, over) => reduceProd(x, over), neutral: () => 1, join: (a, b) => mul(a, b) },
  max: {
    reduce: (x, over) => reduceMax(x, over),
    neutral: (t) => finiteRange[t][0],
    join: (a, b) => ops.max(a, b),
  },
  min: { reduce: (x, over) => reduceMin(x, over), neutral: (t) => finiteRange[t][1], join: (a, b) => ops.min(a, b) },
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
  if (elements(n.in(1)) === 0) return data;
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
  if (elements(index) === 0) return data;
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
  const circular = n.choice("mode", "linear", ["linear", "circular"]) === "circular";
  const whole = ops.sizeOf(size, "i32");
  const offset = circular ? ops.mod(add(ops.mod(ahead, whole), whole), whole) : ahead;
  const inside = ops.and(ops.ge(offset, 0), lt(offset, ops.sizeOf(length, "i32")));
  return { ...cache, node: select(inside, ops.gather(range, offset, own), cache.node) };
}

export const scatteringRecords: Records = {
  Scatter: { build: scatterElements },
  ScatterElements: { build: scatterElements },
  ScatterND: { build: scatterNd },
  TensorScatter: { build: tensorScatter },
};
