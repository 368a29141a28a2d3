/**
 * select(low <= i < high, a, b) along an axis -> concat(b before, a within, b after). A clamp of one parameter then
 * computes and selects that parameter's elements, not those of the whole arena. On a GPU this costs nothing, within the
 * kernel of the update; in ONNX every operation on the way to `a`, and the selection, is an operator over all elements.
 */
import {
  build,
  findAxis,
  hasAxis,
  isConstant,
  isElementwise,
  type Node,
  ops,
  rewrite,
  sourceOf,
  topological,
} from "../../../compiler/index.ts";

const { inOrderOf, nodeRule, refuse, rewritePass, sameUpToOrder } = rewrite;

/** The indices of an axis from `low` to `high`, exclusive; a range without one of them is open at that end. */
interface IndexRange {
  readonly axis: string;
  readonly low: number;
  readonly high: number;
}

export const selectRanges = rewritePass("select-ranges", [
  nodeRule("range-of-an-axis", {
    of: ops.select,
    example: () => {
      const axis = { name: "a", size: 7 };
      const x = ops.input("x", "f32", [axis]);
      return ops.select(ops.and(ops.ge(ops.iota(axis), 2), ops.lt(ops.iota(axis), 5)), ops.min(x, 1), x);
    },
    rewrite: (node, condition) => {
      const range = rangeOf(condition);
      const [, chosen, other] = node.operands as [Node, Node, Node];
      if (!range || ![chosen, other].every((x) => sameUpToOrder(x.type, node.type))) return undefined;
      const size = findAxis(node.type, range.axis)!.size;
      if (typeof size !== "number") return refuse("the axis has a symbolic size");
      const [low, high] = [Math.max(range.low, 0), Math.min(range.high, size)];
      if (low >= high) return inOrderOf(node, other);
      const part = (x: Node, from: number, to: number) => ops.slice(x, range.axis, from, to - from);
      const pieces = [
        ...(low > 0 ? [part(other, 0, low)] : []),
        slicer(topological([other]), range.axis, low, high)(chosen),
        ...(high < size ? [part(other, high, size)] : []),
      ];
      return ops.concat(
        pieces.map((p) => inOrderOf(node, p)),
        range.axis,
      );
    },
  }),
]);

/** The range for which a condition holds: a comparison of indices with a number, or both of two such. */
function rangeOf(condition: Node): IndexRange | undefined {
  if (condition.type.axes.length !== 1 || condition.operands.length !== 2) return undefined;
  const axis = condition.type.axes[0]!.name;
  const [a, b] = condition.operands as [Node, Node];
  if (ops.is(ops.and, condition)) {
    const [one, two] = [rangeOf(a), rangeOf(b)];
    if (!one || !two) return undefined;
    return { axis, low: Math.max(one.low, two.low), high: Math.min(one.high, two.high) };
  }
  const limit = sourceOf(a) === "position" && isConstant(b) && b.type.axes.length === 0 ? b.attrs.value : undefined;
  if (typeof limit !== "number") return undefined;
  if (ops.is(ops.ge, condition)) return { axis, low: Math.ceil(limit), high: Number.POSITIVE_INFINITY };
  return ops.is(ops.lt, condition) ? { axis, low: 0, high: Math.ceil(limit) } : undefined;
}

/** Slices a node; elementwise nodes that are not computed whole anyway are computed from slices. */
function slicer(whole: readonly Node[], axis: string, from: number, to: number): (node: Node) => Node {
  const computed = new Set(whole);
  const made = new Map<Node, Node>();
  const sliced = (node: Node): Node => {
    if (!hasAxis(node.type, axis)) return node;
    const known = made.get(node);
    if (known) return known;
    const result =
      isElementwise(node) && !computed.has(node)
        ? build(node.op, node.operands.map(sliced), node.attrs)
        : ops.slice(node, axis, from, to - from);
    made.set(node, result);
    return result;
  };
  return sliced;
}
