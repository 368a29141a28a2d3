/** Splits and merges: inverse pairs cancel, nested ones are merged. */
import { build } from "../../ir/build.ts";
import type { Node } from "../../ir/node.ts";
import { type Axis, hasAxis } from "../../ir/type.ts";
import { merge, rename, split } from "../../ops/index.ts";
import { inOrderOf, nodeRule, type Rule, sampleTensor } from "../../rewrite/index.ts";
import { operand, pair, sameNames, sizeIn, some } from "./movement-samples.ts";

export const splitAndMergeRules: readonly Rule[] = [
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

/** x with its axes renamed to those of `parts`, if the sizes agree pairwise and no names collide. */
function renamedParts(node: Node, x: Node, axes: readonly string[], parts: readonly Axis[]): Node | undefined {
  if (axes.length !== parts.length || axes.some((a, i) => sizeIn(x, a) !== parts[i]!.size)) return undefined;
  const moved = parts.filter((p, i) => p.name !== axes[i]);
  if (moved.some((p) => hasAxis(x.type, p.name))) return undefined;
  const renamed = axes.reduce((y, a, i) => rename(y, a, parts[i]!.name), x);
  return inOrderOf(node, renamed);
}
