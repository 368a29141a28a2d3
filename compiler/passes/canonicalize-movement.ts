/** Movement ops that undo, continue or pass each other: what is left says where each element comes from, once. */
import { build } from "../ir/build.ts";
import { addDims, type Dim, subDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { type Axis, findAxis, hasAxis } from "../ir/type.ts";
import {
  broadcast,
  broadcastLike,
  concat,
  constant,
  is,
  merge,
  pad,
  rename,
  slice,
  split,
  transpose,
} from "../ops/index.ts";
import {
  axisName,
  axisNames,
  dim,
  inOrderOf,
  nodeRule,
  type Rule,
  rule,
  sampleTensor,
  tensor,
} from "../rewrite/index.ts";

const x = tensor({ a: 12, b: 2 });
const some = (): Node => sampleTensor("x", { a: 12, b: 2 });
const operand = (node: Node): Node => node.operands[0]!;
const sizeIn = (node: Node, axis: string): Dim => findAxis(node.type, axis)!.size;
const areNumbers = (...dims: readonly Dim[]): boolean => dims.every((d) => typeof d === "number");

const pair = (a: string, m: number, b: string, n: number): Axis[] => [
  { name: a, size: m },
  { name: b, size: n },
];

const sameNames = (a: readonly string[], b: readonly string[]): boolean =>
  a.length === b.length && a.every((n, i) => n === b[i]);

const sliceOf = (node: Node) => ({
  axis: node.attrs.axis as string,
  start: node.attrs.start as Dim,
  length: node.attrs.length as Dim,
});

const names: Rule[] = [
  rule("rename-of-rename", {
    given: { x, from: axisName("a"), between: axisName("m"), to: axisName("t") },
    match: ({ x, from, between, to }) => rename(rename(x, from, between), between, to),
    replace: ({ x, from, to }) => rename(x, from, to),
  }),
  nodeRule("split-into-one", {
    of: split,
    example: () => split(some(), "a", [{ name: "c", size: 12 }]),
    rewrite: (node) => {
      const into = node.attrs.into as unknown as Axis[];
      return into.length === 1 ? rename(operand(node), node.attrs.axis as string, into[0]!.name) : undefined;
    },
  }),
  nodeRule("merge-of-one", {
    of: merge,
    example: () => build("merge", [some()], { axes: ["a"], into: "c" }),
    rewrite: (node) => {
      const axes = node.attrs.axes as string[];
      return axes.length === 1 ? rename(operand(node), axes[0]!, node.attrs.into as string) : undefined;
    },
  }),
];

const orders: Rule[] = [
  rule("transpose-of-transpose", {
    given: { x, first: axisNames("b", "a"), order: axisNames("a", "b") },
    match: ({ x, first, order }) => build("transpose", [build("transpose", [x], { order: first })], { order }),
    replace: ({ x, order }) => transpose(x, order),
  }),
  nodeRule("transpose-to-same", {
    of: transpose,
    example: () => build("transpose", [some()], { order: ["a", "b"] }),
    rewrite: (node) => transpose(operand(node), node.attrs.order as string[]),
  }),
];

/** The axes of `merge` and `split` one inside the other, where one undoes the other or both are one. */
const shapes: Rule[] = [
  nodeRule("merge-of-split", {
    of: merge,
    operand: split,
    example: () => merge(split(some(), "a", pair("c", 3, "d", 4)), ["c", "d"], "e"),
    rewrite: (node, inner) => {
      const parts = (inner.attrs.into as unknown as Axis[]).map((a) => a.name);
      if (!sameNames(parts, node.attrs.axes as string[])) return undefined;
      return rename(operand(inner), inner.attrs.axis as string, node.attrs.into as string);
    },
  }),
  nodeRule("split-of-merge", {
    of: split,
    operand: merge,
    example: () => split(merge(some(), ["a", "b"], "m"), "m", pair("a", 12, "d", 2)),
    rewrite: (node, inner) => {
      if (inner.attrs.into !== node.attrs.axis) return undefined;
      return renamedParts(node, operand(inner), inner.attrs.axes as string[], node.attrs.into as unknown as Axis[]);
    },
  }),
  nodeRule("split-of-split", {
    of: split,
    operand: split,
    example: () => split(split(some(), "a", pair("c", 6, "d", 2)), "c", pair("e", 3, "f", 2)),
    rewrite: (node, inner) => {
      const outer = inner.attrs.into as unknown as Axis[];
      if (!outer.some((a) => a.name === node.attrs.axis)) return undefined;
      const into = outer.flatMap((a) => (a.name === node.attrs.axis ? (node.attrs.into as unknown as Axis[]) : [a]));
      return build("split", [operand(inner)], { axis: inner.attrs.axis!, into: into as never });
    },
  }),
  nodeRule("merge-of-merge", {
    of: merge,
    operand: merge,
    example: () => merge(merge(sampleTensor("x", { a: 2, b: 3, c: 5 }), ["a", "b"], "m"), ["m", "c"], "n"),
    rewrite: (node, inner) => {
      const axes = node.attrs.axes as string[];
      if (!axes.includes(inner.attrs.into as string)) return undefined;
      const all = axes.flatMap((a) => (a === inner.attrs.into ? (inner.attrs.axes as string[]) : [a]));
      return inOrderOf(node, merge(operand(inner), all, node.attrs.into as string));
    },
  }),
];

/** x with its axes under the names of `parts`, where their sizes agree one by one and no name gets in another's way. */
function renamedParts(node: Node, x: Node, axes: readonly string[], parts: readonly Axis[]): Node | undefined {
  if (axes.length !== parts.length || axes.some((a, i) => sizeIn(x, a) !== parts[i]!.size)) return undefined;
  const moved = parts.filter((p, i) => p.name !== axes[i]);
  if (moved.some((p) => hasAxis(x.type, p.name))) return undefined;
  const renamed = axes.reduce((y, a, i) => rename(y, a, parts[i]!.name), x);
  return inOrderOf(node, renamed);
}

const slices: Rule[] = [
  rule("slice-of-slice", {
    given: { x, axis: axisName("a"), s: dim(2), l: dim(7), t: dim(3), m: dim(4) },
    match: ({ x, axis, s, l, t, m }) => slice(slice(x, axis, s, l), axis, t, m),
    replace: ({ x, axis, s, t, m }) => slice(x, axis, addDims(s, t), m),
  }),
  nodeRule("slice-of-all", {
    of: slice,
    example: () => build("slice", [some()], { axis: "a", start: 0, length: 12 }),
    rewrite: (node) => {
      const { axis, start, length } = sliceOf(node);
      return start === 0 && sizeIn(operand(node), axis) === length ? operand(node) : undefined;
    },
  }),
  nodeRule("slice-of-rename", {
    of: slice,
    operand: rename,
    example: () => slice(rename(some(), "a", "c"), "c", 2, 3),
    rewrite: (node, inner) => {
      const { axis, start, length } = sliceOf(node);
      const [from, to] = [inner.attrs.axis as string, inner.attrs.to as string];
      return rename(slice(operand(inner), axis === to ? from : axis, start, length), from, to);
    },
  }),
  nodeRule("slice-of-pad", {
    of: slice,
    operand: pad,
    example: () => slice(pad(some(), "a", 3, 4), "a", 1, 10),
    rewrite: sliceOfPad,
  }),
  nodeRule("slice-of-concat", {
    of: slice,
    operand: concat,
    example: () => slice(concat([some(), sampleTensor("y", { a: 5, b: 2 })], "a"), "a", 10, 4),
    rewrite: sliceOfConcat,
  }),
  nodeRule("slice-of-broadcast", {
    of: slice,
    operand: broadcast,
    example: () => slice(broadcast(some(), [{ name: "n", size: 7 }]), "n", 2, 3),
    rewrite: (node, inner) => {
      const { axis, start, length } = sliceOf(node);
      const axes = inner.attrs.axes as unknown as Axis[];
      if (!axes.some((a) => a.name === axis)) return broadcast(slice(operand(inner), axis, start, length), axes);
      return broadcast(
        operand(inner),
        axes.map((a) => (a.name === axis ? { name: axis, size: length } : a)),
      );
    },
  }),
];

/** What a slice keeps of a pad: a part of the padding, of x, or of both. Sizes are numbers here. */
function sliceOfPad(node: Node, padded: Node): Node | undefined {
  const { axis, start, length } = sliceOf(node);
  const [low, high] = [padded.attrs.low as Dim, padded.attrs.high as Dim];
  const size = sizeIn(operand(padded), axis);
  const value = (padded.attrs.value as number | undefined) ?? 0;
  if (padded.attrs.axis !== axis) {
    return pad(slice(operand(padded), axis, start, length), padded.attrs.axis as string, low, high, value);
  }
  if (start === low && length === size) return operand(padded);
  const known = [start, length, low, size];
  if (!areNumbers(...known)) return undefined;
  const [s, l, lo, n] = known as [number, number, number, number];
  const [from, to] = [Math.max(s, lo), Math.min(s + l, lo + n)];
  if (from >= to) return broadcastLike(constant(value, node.type.dtype), node);
  return pad(slice(operand(padded), axis, from - lo, to - from), axis, from - s, s + l - to, value);
}

/** The parts of a concatenation that a slice covers: whole ones whatever their sizes, parts of parts where these are numbers. */
function sliceOfConcat(node: Node, whole: Node): Node | undefined {
  const { axis, start, length } = sliceOf(node);
  if (whole.attrs.axis !== axis) return undefined;
  const end = addDims(start, length);
  const parts: Node[] = [];
  let offset: Dim = 0;
  for (const part of whole.operands) {
    const next = addDims(offset, sizeIn(part, axis));
    const piece = overlap(part, axis, offset, next, start, end);
    if (piece === undefined) return undefined;
    if (piece) parts.push(piece);
    offset = next;
  }
  return inOrderOf(node, concat(parts, axis));
}

/** True when a is at most b whatever the symbols in them stand for. */
function notAbove(a: Dim, b: Dim): boolean {
  const difference = subDims(a, b);
  return typeof difference === "number" && difference <= 0;
}

/** The part of [offset, next) that lies in [start, end): null where none does, undefined where that cannot be told. */
function overlap(part: Node, axis: string, offset: Dim, next: Dim, start: Dim, end: Dim): Node | null | undefined {
  if (notAbove(end, offset) || notAbove(next, start)) return null;
  const [before, after] = [subDims(start, offset), subDims(next, end)];
  if (!areNumbers(before, after)) return undefined;
  const size = sizeIn(part, axis);
  if (typeof size === "number") {
    const [from, to] = [Math.max(0, before as number), size - Math.max(0, after as number)];
    return from >= to ? null : slice(part, axis, from, to - from);
  }
  return before === 0 && after === 0 ? part : undefined;
}

const pads: Rule[] = [
  nodeRule("pad-by-nothing", {
    of: pad,
    example: () => build("pad", [some()], { axis: "a", low: 0, high: 0 }),
    rewrite: (node) => (node.attrs.low === 0 && node.attrs.high === 0 ? operand(node) : undefined),
  }),
  nodeRule("pad-of-pad", {
    of: pad,
    operand: pad,
    example: () => pad(pad(some(), "a", 1, 2), "a", 3, 0),
    rewrite: (node, inner) => {
      const same = inner.attrs.axis === node.attrs.axis;
      const [value, innerValue] = [node, inner].map((n) => (n.attrs.value as number | undefined) ?? 0);
      if (!same || !Object.is(value, innerValue)) return undefined;
      const low = addDims(inner.attrs.low as Dim, node.attrs.low as Dim);
      const high = addDims(inner.attrs.high as Dim, node.attrs.high as Dim);
      return pad(operand(inner), node.attrs.axis as string, low, high, value);
    },
  }),
];

const concats: Rule[] = [
  nodeRule("concat-of-one", {
    of: concat,
    example: () => build("concat", [some()], { axis: "a" }),
    rewrite: (node) => (node.operands.length === 1 ? operand(node) : undefined),
  }),
  nodeRule("concat-of-concat", {
    of: concat,
    example: () => concat([some(), concat([some(), some()], "a")], "a"),
    rewrite: (node) => {
      const nested = (o: Node) => is(concat, o) && o.attrs.axis === node.attrs.axis;
      if (!node.operands.some(nested)) return undefined;
      const parts = node.operands.flatMap((o) => (nested(o) ? o.operands : [o]));
      return inOrderOf(node, concat(parts, node.attrs.axis as string));
    },
  }),
  nodeRule("concat-of-neighbours", {
    of: concat,
    example: () => concat([slice(some(), "a", 0, 3), slice(some(), "a", 3, 4)], "a"),
    rewrite: (node) => {
      const parts = node.operands.reduce<Node[]>((all, o) => joinLast(all, o, node.attrs.axis as string), []);
      return parts.length === node.operands.length ? undefined : concat(parts, node.attrs.axis as string);
    },
  }),
];

/** Appends a part; where it continues the slice before it, the two become one slice. */
function joinLast(parts: Node[], part: Node, axis: string): Node[] {
  const last = parts.at(-1);
  const isPart = (n: Node | undefined): n is Node => is(slice, n) && n!.attrs.axis === axis;
  if (isPart(last) && isPart(part) && operand(last) === operand(part)) {
    const [a, b] = [sliceOf(last), sliceOf(part)];
    if (addDims(a.start, a.length) === b.start) {
      parts[parts.length - 1] = slice(operand(part), axis, a.start, addDims(a.length, b.length));
      return parts;
    }
  }
  parts.push(part);
  return parts;
}

const broadcasts: Rule[] = [
  nodeRule("broadcast-over-nothing", {
    of: broadcast,
    example: () => build("broadcast", [some()], { axes: [] }),
    rewrite: (node) => ((node.attrs.axes as readonly unknown[]).length === 0 ? operand(node) : undefined),
  }),
  nodeRule("broadcast-of-broadcast", {
    of: broadcast,
    operand: broadcast,
    example: () => broadcast(broadcast(some(), [{ name: "n", size: 7 }]), [{ name: "m", size: 3 }]),
    rewrite: (node, inner) => {
      const axes = [node, inner].flatMap((n) => n.attrs.axes as unknown as Axis[]);
      return broadcast(operand(inner), axes);
    },
  }),
  nodeRule("rename-of-broadcast", {
    of: rename,
    operand: broadcast,
    example: () => rename(broadcast(some(), [{ name: "n", size: 7 }]), "n", "m"),
    rewrite: (node, inner) => {
      const [from, to] = [node.attrs.axis as string, node.attrs.to as string];
      const axes = inner.attrs.axes as unknown as Axis[];
      if (!axes.some((a) => a.name === from)) return broadcast(rename(operand(inner), from, to), axes);
      return broadcast(
        operand(inner),
        axes.map((a) => (a.name === from ? { name: to, size: a.size } : a)),
      );
    },
  }),
];

export const movementRules: readonly Rule[] = [
  ...names,
  ...orders,
  ...shapes,
  ...slices,
  ...pads,
  ...concats,
  ...broadcasts,
];
