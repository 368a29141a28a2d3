/** Reductions and contractions of broadcast values, and explicit broadcasts that ops make redundant. */
import { foldsParts } from "../../ir/algebra.ts";
import { build } from "../../ir/build.ts";
import { type Dim, productOfDims } from "../../ir/dim.ts";
import type { Node } from "../../ir/node.ts";
import { foldOf, isElementwise, sourceOf } from "../../ir/op.ts";
import { type Axis, findAxis, hasAxis } from "../../ir/type.ts";
import {
  add,
  broadcast,
  broadcastLike,
  constant,
  contract,
  exp,
  ge,
  gt,
  iota,
  is,
  le,
  lt,
  merge,
  mul,
  reduceSum,
  rename,
  sizeOf,
  split,
} from "../../ops/index.ts";
import { inOrderOf, type NodeRule, nodeRule, type Rule, refuse, sampleTensor } from "../../rewrite/index.ts";
import { scalarValue } from "./arithmetic.ts";

const some = (): Node => sampleTensor("x", { a: 6, b: 2 });
const sevenfold = (): Node => broadcast(some(), [{ name: "n", size: 7 }]);
const operand = (node: Node): Node => node.operands[0]!;
const overOf = (node: Node): readonly string[] => node.attrs.over as string[];
const axesOf = (node: Node): readonly Axis[] => node.attrs.axes as unknown as Axis[];

const parts: readonly Axis[] = [
  { name: "c", size: 3 },
  { name: "d", size: 2 },
];

const hasAll = (node: Node, axes: readonly Axis[]): boolean => axes.every((a) => hasAxis(node.type, a.name));

const sameAxes = (a: readonly Axis[], b: readonly Axis[]): boolean =>
  a.length === b.length && a.every((x, i) => x.name === b[i]!.name && x.size === b[i]!.size);

const reduceOver = (op: string, x: Node, over: readonly string[]): Node =>
  over.length === 0 ? x : build(op, [x], { over });

/** A rule for every reduction that can be folded in parts and in any order. */
const forReductions = (name: string, { rewrite, ...rest }: Omit<NodeRule, "of" | "kind">): Rule =>
  nodeRule(name, {
    ...rest,
    kind: "reduction",
    rewrite: (node, inner) => (foldsParts(foldOf(node)!.fold) ? rewrite(node, inner) : undefined),
  });

const reductions: Rule[] = [
  forReductions("reduction-of-reduction", {
    example: () => reduceSum(reduceSum(some(), ["a"]), ["b"]),
    rewrite: (node) => {
      const inner = operand(node);
      return inner.op === node.op
        ? reduceOver(node.op, operand(inner), [...overOf(inner), ...overOf(node)])
        : undefined;
    },
  }),
  nodeRule("reduction-of-broadcast", {
    kind: "reduction",
    example: () => reduceSum(sevenfold(), ["n", "a"]),
    rewrite: (node) => {
      const { repeated } = foldOf(node)!.fold;
      const { kept, reduced, rest } = brokenDown(node);
      if (!repeated || reduced.length === 0) return undefined;
      const once = reduceOver(node.op, broadcast(operand(operand(node)), kept), rest);
      if (repeated === "same") return once;
      return mul(once, sizeOf(productOfDims(reduced.map((a) => a.size)), once.type.dtype));
    },
  }),
  forReductions("reduction-of-one", {
    example: () => reduceSum(sampleTensor("x", { a: 6, b: 1 }), ["b"]),
    rewrite: (node) => {
      const x = operand(node);
      const one = overOf(node).find((n) => findAxis(x.type, n)!.size === 1);
      // Merged with a kept axis: with a reduced one, "reduction-of-merge" would undo it.
      const beside = x.type.axes.find((a) => !overOf(node).includes(a.name))?.name;
      if (one === undefined || beside === undefined) return undefined;
      const over = overOf(node).filter((n) => n !== one);
      return inOrderOf(node, reduceOver(node.op, merge(x, [beside, one], beside), over));
    },
  }),
  forReductions("reduction-of-merge", {
    operand: merge,
    example: () => reduceSum(merge(some(), ["a", "b"], "m"), ["m"]),
    rewrite: (node, inner) => {
      const into = inner.attrs.into as string;
      if (!overOf(node).includes(into)) return undefined;
      const over = overOf(node).flatMap((n) => (n === into ? (inner.attrs.axes as string[]) : [n]));
      return reduceOver(node.op, operand(inner), over);
    },
  }),
  forReductions("reduction-of-split", {
    operand: split,
    example: () => reduceSum(split(some(), "a", [...parts]), ["c", "d"]),
    rewrite: (node, inner) => {
      const names = (inner.attrs.into as unknown as Axis[]).map((a) => a.name);
      if (!names.every((n) => overOf(node).includes(n))) return undefined;
      const rest = overOf(node).filter((n) => !names.includes(n));
      return reduceOver(node.op, operand(inner), [inner.attrs.axis as string, ...rest]);
    },
  }),
  forReductions("reduction-of-rename", {
    operand: rename,
    example: () => reduceSum(rename(some(), "a", "c"), ["c"]),
    rewrite: (node, inner) => {
      if (!overOf(node).includes(inner.attrs.to as string)) return undefined;
      const over = overOf(node).map((n) => (n === inner.attrs.to ? (inner.attrs.axis as string) : n));
      return reduceOver(node.op, operand(inner), over);
    },
  }),
];

/** For a reduction of a broadcast: broadcast axes that stay, those that are reduced, and the other reduced axes. */
function brokenDown(node: Node): { kept: Axis[]; reduced: Axis[]; rest: string[] } {
  const inner = operand(node);
  const axes = is(broadcast, inner) ? axesOf(inner) : [];
  const reduced = axes.filter((a) => overOf(node).includes(a.name));
  const rest = overOf(node).filter((n) => !reduced.some((a) => a.name === n));
  return { kept: axes.filter((a) => !reduced.includes(a)), reduced, rest };
}

/**
 * before  contract(broadcast(x, [n, k]), y, [k])
 * after   broadcast(x · reduce_sum(y, [k]), [n])   n is broadcast only if y lacks it too
 */
const contractions: Rule[] = [0, 1].map((which) =>
  nodeRule(which === 0 ? "contract-of-broadcast" : "contract-by-broadcast", {
    kind: "contraction",
    example: () => {
      const y = sampleTensor("y", { a: 6, n: 7, c: 4 });
      return which === 0 ? contract(sevenfold(), y, ["a", "n"]) : contract(y, sevenfold(), ["a", "n"]);
    },
    rewrite: (node) => {
      const [repeated, other] = [node.operands[which]!, node.operands[1 - which]!];
      if (!is(broadcast, repeated)) return undefined;
      const x = operand(repeated);
      const lost = axesOf(repeated).map((a) => a.name);
      const summed = overOf(node).filter((n) => lost.includes(n));
      const over = overOf(node).filter((n) => !lost.includes(n));
      const y = reduceOver(reduceSum.record.name, other, summed);
      const [a, b] = which === 0 ? [x, y] : [y, x];
      const product = over.length === 0 ? mul(a, b) : contract(a, b, over);
      return inOrderOf(node, broadcastLike(product, node));
    },
  }),
);

/** Elementwise ops broadcast by name: an operand need not be broadcast over axes that another one has. */
const broadcasts: Rule[] = [
  nodeRule("broadcast-by-name", {
    example: () => add(some(), broadcast(sampleTensor("y", { b: 2 }), [{ name: "a", size: 6 }])),
    rewrite: (node) => {
      if (!isElementwise(node) || node.operands.length < 2) return undefined;
      const at = node.operands.findIndex(
        (o, i) => is(broadcast, o) && node.operands.some((p, j) => j !== i && hasAll(p, axesOf(o))),
      );
      if (at < 0) return undefined;
      return build(
        node.op,
        node.operands.map((o, i) => (i === at ? operand(o) : o)),
        node.attrs,
      );
    },
  }),
  nodeRule("broadcast-late", {
    example: () => exp(sevenfold()),
    rewrite: (node) => {
      if (!isElementwise(node)) return undefined;
      const tensors = node.operands.filter((o) => o.type.axes.length > 0);
      const [first] = tensors;
      if (!is(broadcast, first)) return undefined;
      const alike = tensors.every((o) => is(broadcast, o) && sameAxes(axesOf(o), axesOf(first!)));
      if (!alike) return refuse("the operands are not all spread over the same axes");
      const inner = node.operands.map((o) => (is(broadcast, o) ? operand(o) : o));
      return broadcast(build(node.op, inner, node.attrs), axesOf(first!));
    },
  }),
];

/** Comparisons of positions with a number that have the same result for all of them. */
const positions: Rule[] = [lt, le, gt, ge].map((of) =>
  nodeRule(`${of.record.name}-beyond-positions`, {
    of,
    example: () => of(iota({ name: "a", size: 5 }), constant(7, "i32")),
    rewrite: (node) => {
      const [index, bound] = node.operands as [Node, Node];
      const size: Dim | undefined = sourceOf(index) === "position" ? index.type.axes[0]!.size : undefined;
      const limit = scalarValue(bound);
      if (typeof size !== "number" || limit === undefined) return undefined;
      const scalar = of.record.scalar!;
      const [first, last] = [scalar(0, limit), scalar(size - 1, limit)];
      return first === last ? broadcastLike(constant(first, "bool"), node) : undefined;
    },
  }),
);

export const reductionRules: readonly Rule[] = [...reductions, ...contractions, ...broadcasts, ...positions];
