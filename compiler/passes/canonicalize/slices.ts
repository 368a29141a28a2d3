/** Slices move below other movement ops, so that only what is needed is computed. */
import { build } from "../../ir/build.ts";
import { addDims, type Dim, subDims } from "../../ir/dim.ts";
import type { Node } from "../../ir/node.ts";
import type { Axis } from "../../ir/type.ts";
import { broadcast, broadcastLike, concat, constant, pad, rename, slice } from "../../ops/index.ts";
import { axisName, dim, inOrderOf, nodeRule, type Rule, rule, sampleTensor } from "../../rewrite/index.ts";
import { areNumbers, operand, sizeIn, sliceOf, some, x } from "./movement-samples.ts";

export const sliceRules: readonly Rule[] = [
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

/** What a slice keeps of a pad: part of the padding, of x, or of both; mostly for numeric sizes. */
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

/** The operands of a concatenation that a slice covers; partly covered ones only if their sizes are numbers. */
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

/** True if a ≤ b for every value of their symbols; may miss some cases. */
function notAbove(a: Dim, b: Dim): boolean {
  const difference = subDims(a, b);
  return typeof difference === "number" && difference <= 0;
}

/** The part of [offset, next) within [start, end): null if empty, undefined if unknown. */
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
