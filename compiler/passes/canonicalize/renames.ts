/** Renames and transposes: consecutive ones are merged. */
import { build } from "../../ir/build.ts";
import type { Axis } from "../../ir/type.ts";
import { merge, rename, split, transpose } from "../../ops/index.ts";
import { axisName, axisNames, nodeRule, type Rule, rule } from "../../rewrite/index.ts";
import { operand, some, x } from "./movement-samples.ts";

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

export const renameRules: readonly Rule[] = [...names, ...orders];
