/** Gathering by indices, and selecting by conditions. */
import { type Dim, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { namesOf, sharedNames } from "../broadcast.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, isNumbers, known, knownOf, type Tensor, tensor, type Value } from "../values.ts";
import { chosen, rangeOf } from "./ranges.ts";
import { expandTo, reshapeTo } from "./shapes.ts";

const { add, cast, eq, lt, mul, select } = ops;

/** Normalizes negative indices. */
export function fromStart(n: NodeView, index: Value, size: Dim): Value {
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

export const asIndex = (x: Node): Node => (x.type.dtype === "i32" || x.type.dtype === "u32" ? x : cast(x, "i32"));

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
export function flatPlaces(n: NodeView, index: Value, sizes: readonly Dim[]): Tensor {
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

function oneHot(n: NodeView): Value {
  const depth = n.numberIn(1, "the depth");
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

/** Selects elements by a constant condition. */
function compress(n: NodeView): Value {
  const flags = n.numbersIn(1, "the condition");
  const places = flags.flatMap((f, i) => (f ? [i] : []));
  if (places.length === 0) throw n.fail("the result is an empty tensor");
  if (n.has("axis")) return chosen(n, n.in(0), n.dim(n.int("axis"), n.in(0).shape.length), places);
  const x = n.x(0);
  return chosen(n, reshapeTo(n, x, [productOfDims(x.shape)]), 0, places);
}

export const indexingRecords: Records = {
  Gather: { build: gather, moves: true },
  GatherElements: { build: gatherElements },
  GatherND: { build: gatherNd },
  OneHot: { build: oneHot },
  Compress: { build: compress },
};
