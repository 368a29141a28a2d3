/** Steps that build the patterns that fusion targets, which single ops, as in random-steps.ts, seldom form. */
import { type Axis, type Node, ops, subDims } from "../../compiler/index.ts";
import {
  addInput,
  align,
  type Draft,
  elements,
  fit,
  freshAxis,
  hasSame,
  isFloat,
  named,
  ofDtype,
  pick,
  recent,
  shuffled,
  sizeNumber,
  type Value,
} from "../support/random-steps.ts";

/** One more value, or none where no existing value suits the step. */
export type Step = (d: Draft) => Value | undefined;

const unit = { low: -2, high: 2 };
const small = { low: -4, high: 4 };
const chance = (d: Draft, one: number): boolean => d.choose(one) === 0;
const without = (axes: readonly Axis[], ...names: string[]) => axes.filter((a) => !names.includes(a.name));

const floats = (d: Draft): Value[] => ofDtype(d, "f32");
/** A float value with at least one axis, and one of its axes. */
function floatOnAxis(d: Draft): { x: Value; axis: Axis } | undefined {
  const x = recent(d, floats(d));
  return x.node.type.axes.length === 0 ? undefined : { x, axis: pick(d, x.node.type.axes) };
}

/** A slice of an axis, shorter than the axis where possible. */
function someSlice(d: Draft, x: Node, axis: Axis): Node {
  if (typeof axis.size !== "number") return ops.slice(x, axis.name, 1, subDims(axis.size, 1));
  const start = d.choose(axis.size);
  return ops.slice(x, axis.name, start, 1 + d.choose(axis.size - start));
}

/** Whether b can be concatenated to a along an axis: the other axes are the same, in any order. */
const continues = (a: Node, b: Node, axis: string): boolean =>
  a.type.dtype === b.type.dtype &&
  a.type.axes.length === b.type.axes.length &&
  b.type.axes.some((x) => x.name === axis) &&
  without(a.type.axes, axis).every((x) => hasSame(b, x));

/**
 * A concatenation of a value and others like it, some of them slices of each other; parts may be used elsewhere too.
 */
function concatMany(d: Draft): Value | undefined {
  const x = recent(d, d.values);
  if (x.node.type.axes.length === 0) return undefined;
  const axis = pick(d, x.node.type.axes);
  const parts: Value[] = [x];
  for (let left = 1 + (chance(d, 3) ? d.choose(8) : d.choose(3)); left > 0; left--) {
    const made = concatPart(d, x, axis, parts);
    const total = [...parts, made].reduce((n, p) => n + elements(p.node.type.axes), 0);
    if (total <= d.options.maxElements) parts.push(made);
    if (chance(d, 4)) d.values.push(made);
  }
  const order = chance(d, 2) ? parts : [...parts].reverse();
  const node = ops.concat(
    order.map((p) => p.node),
    axis.name,
  );
  return { node, low: Math.min(...parts.map((p) => p.low)), high: Math.max(...parts.map((p) => p.high)) };
}

function concatPart(d: Draft, x: Value, axis: Axis, parts: readonly Value[]): Value {
  const like = d.values.filter((v) => continues(x.node, v.node, axis.name));
  const known = pick(d, like);
  switch (d.choose(isFloat(x.node) ? 7 : 4)) {
    case 0:
      return x;
    case 1:
      return { ...x, node: someSlice(d, x.node, axis) };
    case 2:
      return known;
    case 3:
      return parts.length > 1
        ? { ...x, node: ops.concat([parts[0]!.node, parts[1]!.node], axis.name) }
        : { ...known, node: someSlice(d, known.node, known.node.type.axes.find((a) => a.name === axis.name)!) };
    case 4:
      return { node: ops.neg(x.node), low: -x.high, high: -x.low };
    case 5:
      return { node: ops.mul(someSlice(d, x.node, axis), 0.5), low: Math.min(x.low, 0), high: Math.max(x.high, 0) };
    default:
      return { node: ops.tanh(x.node), low: -1, high: 1 };
  }
}

function softmaxStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found) return undefined;
  const x = fit(found.x, small);
  if (chance(d, 3)) return { node: ops.logsumexp(x, found.axis.name), low: -4, high: 14 };
  return { node: ops.softmax(x, found.axis.name), low: 0, high: 1 };
}

function weightOf(d: Draft, axes: readonly Axis[]): Node {
  const known = floats(d).filter(
    (v) => v.node.type.axes.length === axes.length && axes.every((a) => hasSame(v.node, a)),
  );
  return fit(known.length > 0 && chance(d, 2) ? pick(d, known) : addInput(d, "f32", axes), unit);
}

function normStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found) return undefined;
  const x = fit(found.x, unit);
  const over = shuffled(d, named(x)).slice(0, 1 + d.choose(2));
  const own = x.type.axes.filter((a) => over.includes(a.name));
  const epsilon = pick(d, [1e-2, 1e-1, 1e-3]);
  switch (d.choose(4)) {
    case 0:
      return { node: ops.rmsNorm(x, undefined, over, epsilon), low: -9, high: 9 };
    case 1:
      return { node: ops.rmsNorm(x, weightOf(d, own), over, epsilon), low: -18, high: 18 };
    case 2:
      return { node: ops.layerNorm(x, weightOf(d, own), weightOf(d, own), over, epsilon), low: -20, high: 20 };
    default:
      return { node: ops.l2Normalize(x, over, 0.1), low: -1, high: 1 };
  }
}

function crossEntropyStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found) return undefined;
  const logits = fit(found.x, small);
  const label = addInput(d, "i32", without(logits.type.axes, found.axis.name));
  return { node: ops.crossEntropy(logits, fit(label, { low: 0, high: 6 }), found.axis.name), low: 0, high: 20 };
}

function reduceMany(d: Draft): Value | undefined {
  const x = recent(d, d.values);
  const over = shuffled(d, named(x.node)).slice(0, 1 + d.choose(4));
  if (over.length === 0 || x.node.type.dtype === "bool") return undefined;
  const n = elements(x.node.type.axes.filter((a) => over.includes(a.name)));
  switch (d.choose(isFloat(x.node) ? 3 : 2)) {
    case 0:
      return { node: ops.reduceSum(x.node, over), low: Math.min(0, n * x.low), high: Math.max(0, n * x.high) };
    case 1:
      return { node: ops.reduceMax(x.node, over), low: x.low, high: x.high };
    default:
      return { node: ops.reduceMean(x.node, over), low: x.low, high: x.high };
  }
}

/** x · xᵀ: one axis in two roles. */
function gramStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found || found.x.node.type.axes.length < 2) return undefined;
  const x = fit(found.x, unit);
  const role = pick(d, without(x.type.axes, found.axis.name));
  const other = ops.rename(x, role.name, freshAxis(d, 1).name);
  if (elements([...without(x.type.axes, found.axis.name), role]) > d.options.maxElements) return undefined;
  const total = 4 * sizeNumber(found.axis);
  return { node: ops.contract(x, other, [found.axis.name]), low: -total, high: total };
}

/** Which keys a query attends to. */
export function maskFor(d: Draft, query: Axis, key: Axis, batch: readonly Axis[]): Node {
  const [q, k] = [ops.iota(query), ops.iota(key)];
  switch (d.choose(7)) {
    case 0:
      return ops.le(k, q); // causal
    case 1:
      return ops.or(ops.le(k, q), ops.lt(k, 1 + d.choose(3))); // causal after a prefix
    case 2: {
      const width = 1 + d.choose(4);
      return ops.eq(ops.idiv(k, width), ops.idiv(q, width)); // blocks
    }
    case 3:
      return ops.lt(k, addInput(d, "i32", batch.slice(0, 1)).node); // padding; a length of 0 hides all
    case 4:
      return ops.and(ops.le(k, q), ops.lt(k, addInput(d, "i32", batch.slice(0, 1)).node));
    case 5:
      return addInput(d, "bool", [query, key]).node;
    default:
      return addInput(d, "bool", [...batch.slice(0, d.choose(2)), key]).node;
  }
}

/** Attention of a value over itself or over new keys; as one op, or as the ops that fuseAttention matches. */
function attentionStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found || found.x.node.type.axes.length < 2) return undefined;
  const unitRange = { low: -1, high: 1 };
  const q = fit(found.x, unitRange);
  const dot = found.axis;
  if (typeof dot.size !== "number") return undefined; // a head has a known size
  const query = pick(d, without(q.type.axes, dot.name));
  const batch = without(q.type.axes, dot.name, query.name);
  const own = chance(d, 2);
  const key = freshAxis(d, own ? query.size : pick(d, d.options.sizes));
  const shared = chance(d, 3) ? batch.slice(1) : batch; // keys shared by heads
  const width = chance(d, 2) ? dot : freshAxis(d, pick(d, d.options.sizes));
  if (elements([...batch, query, key]) > d.options.maxElements) return undefined;
  if (elements([...batch, query, width]) > d.options.maxElements) return undefined;
  const make = (last: Axis) =>
    own && last === dot
      ? ops.rename(q, query.name, key.name)
      : fit(addInput(d, "f32", shuffledAxes(d, [...shared, key, last])), unitRange);
  const k = make(dot);
  const v = chance(d, 4) ? k : make(width);
  const mask = chance(d, 4) ? undefined : maskFor(d, query, key, batch);
  const scale = pick(d, [1, 0.5, 0.25]);
  if (chance(d, 3)) return { node: plainAttention(q, k, v, mask, dot.name, key.name, scale), low: -2, high: 2 };
  return { node: ops.attention(q, k, v, { dot: dot.name, over: key.name, scale }, mask), low: -1, high: 1 };
}

function plainAttention(q: Node, k: Node, v: Node, mask: Node | undefined, dot: string, over: string, scale: number) {
  const logits = ops.mul(ops.contract(q, k, [dot]), scale);
  const weights = ops.softmax(mask ? ops.select(mask, logits, -1e9) : logits, over);
  return ops.contract(weights, v, [over]);
}

function shuffledAxes(d: Draft, axes: readonly Axis[]): Axis[] {
  return shuffled(
    d,
    axes.map((a) => a.name),
  ).map((name) => axes.find((a) => a.name === name)!);
}

/** An embedding lookup: rows of a new table, indexed by an existing integer value. */
function embedStep(d: Draft): Value | undefined {
  const index = recent(d, ofDtype(d, "i32"));
  const [rows, width] = [freshAxis(d, pick(d, d.options.sizes)), freshAxis(d, pick(d, d.options.sizes))];
  if (elements([...index.node.type.axes, width]) > d.options.maxElements) return undefined;
  if (elements([rows, width]) > d.options.maxElements) return undefined;
  return { node: ops.gather(addInput(d, "f32", [rows, width]).node, index.node, rows.name), low: -2, high: 2 };
}

function tableStep(d: Draft): Value | undefined {
  const axis = freshAxis(d, pick(d, d.options.sizes));
  const integer = chance(d, 3);
  const values = Array.from({ length: axis.size as number }, () => (integer ? d.choose(7) : d.choose(17) / 4 - 2));
  return { node: ops.table(values, [axis], integer ? "i32" : "f32"), low: integer ? 0 : -2, high: integer ? 6 : 2 };
}

/** Windows of an axis, convolved or max-pooled. */
function convolutionStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found || typeof found.axis.size !== "number") return undefined;
  const padded = ops.pad(fit(found.x, unit), found.axis.name, d.choose(3), d.choose(3));
  const kernel = freshAxis(d, 1 + d.choose(Math.min(3, found.axis.size)));
  const windows = ops.window(padded, found.axis.name, freshAxis(d, 1).name, kernel, 1 + d.choose(2));
  if (elements(windows.type.axes) > d.options.maxElements) return undefined;
  if (chance(d, 2)) return { node: ops.reduceMax(windows, [kernel.name]), low: -2, high: 2 };
  const filters = addInput(d, "f32", [freshAxis(d, pick(d, [1, 2, 3])), kernel]);
  return { node: ops.contract(windows, fit(filters, unit), [kernel.name]), low: -12, high: 12 };
}

/** Adds or drops an axis of size 1, or drops any axis by indexing it. */
function singleAxisStep(d: Draft): Value | undefined {
  const x = recent(d, d.values);
  const axes = x.node.type.axes;
  const single = axes.filter((a) => a.size === 1);
  if (single.length > 0 && chance(d, 2) && (axes.length > 1 || x.node.type.dtype !== "bool"))
    return { ...x, node: ops.dropAxis(x.node, pick(d, single).name) };
  if (axes.length === 0 || chance(d, 2)) return { ...x, node: ops.broadcast(x.node, [freshAxis(d, 1)]) };
  const axis = pick(d, axes);
  return axes.length < 2
    ? undefined
    : { ...x, node: ops.at(x.node, axis.name, typeof axis.size === "number" ? d.choose(axis.size) : 0) };
}

function positionsStep(d: Draft): Value | undefined {
  const found = floatOnAxis(d);
  if (!found) return undefined;
  const x = fit(found.x, small);
  const positions = ops.mul(ops.iota(found.axis, "f32"), 0.25);
  return { node: ops.add(x, ops.sin(positions)), low: -5, high: 5 };
}

/** x + f(x), where two kernels read x. */
function residualStep(d: Draft): Value | undefined {
  const a = recent(d, floats(d));
  const b = pick(d, floats(d));
  const other = align(d, [a], b.node);
  return other && { node: ops.add(a.node, other), low: a.low + b.low, high: a.high + b.high };
}

/** A parameter stored as f16 and computed with as f32. */
function storedHalf(d: Draft): Value | undefined {
  const like = recent(d, floats(d));
  const name = `x${d.declared.length}`;
  const node = ops.parameter(`half.${name}`, "f16", like.node.type.axes, { kind: "normal", mean: 0, std: 1 });
  d.declared.push(node);
  return { node: ops.cast(node, "f32"), low: -2, high: 2 };
}

/** The steps with their weights. */
export const steps: readonly (readonly [Step, number])[] = [
  [concatMany, 6],
  [softmaxStep, 2],
  [normStep, 2],
  [crossEntropyStep, 1],
  [reduceMany, 3],
  [gramStep, 1],
  [attentionStep, 3],
  [embedStep, 1],
  [tableStep, 1],
  [convolutionStep, 1],
  [singleAxisStep, 2],
  [positionsStep, 1],
  [residualStep, 2],
  [storedHalf, 1],
];
