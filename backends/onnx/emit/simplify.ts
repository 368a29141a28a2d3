/** Rewrites of the graph that pay in a runtime which runs one operator at a time: what is computed twice is shared, copies are joined. */
import {
  type Axis,
  addDims,
  type Dim,
  findAxis,
  type Graph,
  indexMapOf,
  type Node,
  nodesOf,
  ops,
  rewriteGraph,
} from "../../../compiler/index.ts";

/** The graph with the rewrites of this file applied once, operands first. */
export function simplify(graph: Graph): Graph {
  const present = new Set(nodesOf(graph));
  return rewriteGraph(graph, (node, original) => sharedGelu(node, original, present) ?? joinedPads(node) ?? node);
}

/**
 * gelu(x) -> x · Φ(x), where the graph has Φ(x) already because it differentiates the gelu: the error function, most of
 * the cost, is then computed once.
 */
function sharedGelu(node: Node, original: Node, present: ReadonlySet<Node>): Node | undefined {
  if (!ops.is(ops.gelu, node) || !present.has(normalCdf(original.operands[0]!))) return undefined;
  const x = node.operands[0]!;
  return ops.mul(x, normalCdf(x));
}

/** Φ(x), as gelu's gradient spells it. */
const normalCdf = (x: Node): Node => ops.mul(0.5, ops.add(1, ops.erf(ops.mul(x, Math.SQRT1_2))));

/**
 * pad(a) + pad(b) -> concat(a, b), where one range begins at the end of the other: the cotangent of neighbouring slices,
 * such as q, k and v out of one product, is written once instead of padded and added.
 */
function joinedPads(node: Node): Node | undefined {
  if (!ops.is(ops.add, node)) return undefined;
  const [a, b] = node.operands as [Node, Node];
  if (!isZeroPad(a) || !isZeroPad(b) || a.attrs.axis !== b.attrs.axis) return undefined;
  if (!sameAxes(a, b)) return undefined;
  const [low, high] = endOf(a) === b.attrs.low ? [a, b] : endOf(b) === a.attrs.low ? [b, a] : [undefined, undefined];
  if (!low || !high) return undefined;
  const axis = low.attrs.axis as string;
  const parts = [...partsOf(low.operands[0]!, axis), ...partsOf(high.operands[0]!, axis)];
  const joined = ops.pad(ops.concat(parts, axis), axis, low.attrs.low as Dim, high.attrs.high as Dim);
  return ops.transpose(
    joined,
    node.type.axes.map((x) => x.name),
  );
}

const isZeroPad = (node: Node): boolean =>
  ops.is(ops.pad, node) && ((node.attrs.value as number | undefined) ?? 0) === 0;

const endOf = (pad: Node): Dim =>
  addDims(pad.attrs.low as Dim, (findAxis(pad.operands[0]!.type, pad.attrs.axis as string) as Axis).size);

const sameAxes = (a: Node, b: Node): boolean =>
  a.type.axes.length === b.type.axes.length && a.type.axes.every((x) => findAxis(b.type, x.name)?.size === x.size);

/** What a concatenation along the axis joins; a transpose in between changes no meaning. */
function partsOf(node: Node, axis: string): readonly Node[] {
  const inner = ops.is(ops.transpose, node) ? node.operands[0]! : node;
  return indexMapOf(inner)?.consecutive === axis ? inner.operands : [node];
}
