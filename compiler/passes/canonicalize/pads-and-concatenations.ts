/** Pads and concatenations: nested ones are merged, and concatenated adjacent slices become one slice. */
import { build } from "../../ir/build.ts";
import { addDims, type Dim } from "../../ir/dim.ts";
import type { Node } from "../../ir/node.ts";
import { concat, is, pad, slice } from "../../ops/index.ts";
import { inOrderOf, nodeRule, type Rule } from "../../rewrite/index.ts";
import { operand, sliceOf, some } from "./movement-samples.ts";

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

/** Appends a part, merged with the slice before it if it continues that. */
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

export const padAndConcatenationRules: readonly Rule[] = [...pads, ...concats];
