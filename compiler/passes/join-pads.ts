/**
 * pad(a) + pad(b) -> concat(a, b), if one range begins where the other ends: the cotangent of adjacent slices, such as
 * q, k and v of one product, is written once instead of padded and added.
 */
import { addDims, type Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { add, concat, input, is, pad, transpose } from "../ops/index.ts";
import { nodeRule, type Refusal, refuse, rewritePass } from "../rewrite/index.ts";

function joined({ operands, type }: Node): Node | Refusal | undefined {
  const [a, b] = operands as [Node, Node];
  if (!isZeroPad(a) || !isZeroPad(b) || a.attrs.axis !== b.attrs.axis) return undefined;
  if (!sameAxes(a, b)) return refuse("one is repeated along an axis of the other");
  const [low, high] = endOf(a) === b.attrs.low ? [a, b] : endOf(b) === a.attrs.low ? [b, a] : [undefined, undefined];
  if (!low || !high) return refuse("neither range begins where the other ends");
  const axis = low.attrs.axis as string;
  const parts = [...partsOf(low.operands[0]!, axis), ...partsOf(high.operands[0]!, axis)];
  const whole = pad(concat(parts, axis), axis, low.attrs.low as Dim, high.attrs.high as Dim);
  return transpose(
    whole,
    type.axes.map((x) => x.name),
  );
}

const isZeroPad = (node: Node): boolean => is(pad, node) && ((node.attrs.value as number | undefined) ?? 0) === 0;

const endOf = (pad: Node): Dim =>
  addDims(pad.attrs.low as Dim, (findAxis(pad.operands[0]!.type, pad.attrs.axis as string) as Axis).size);

const sameAxes = (a: Node, b: Node): boolean =>
  a.type.axes.length === b.type.axes.length && a.type.axes.every((x) => findAxis(b.type, x.name)?.size === x.size);

/** The operands of a concatenation along the axis, looking through a transpose; otherwise the node itself. */
function partsOf(node: Node, axis: string): readonly Node[] {
  const inner = is(transpose, node) ? node.operands[0]! : node;
  return indexMapOf(inner)?.consecutive === axis ? inner.operands : [node];
}

export const joinPads = rewritePass("join-pads", [
  nodeRule("neighbouring-ranges", {
    of: add,
    operand: pad,
    example: () => {
      const [a, b] = ["a", "b"].map((name) => input(name, "f32", [{ name: "x", size: 2 }])) as [Node, Node];
      return add(pad(a, "x", 0, 2), pad(b, "x", 2, 0));
    },
    rewrite: joined,
  }),
]);
