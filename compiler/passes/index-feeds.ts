/** Finds inputs used as indices, such as labels and token ids: an out-of-range index would silently be clamped. */
import type { Dim } from "../ir/dim.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isAffine, isElementwise, isFeed, opRecord, type RefTensor, roleOf, sourceOf } from "../ir/op.ts";
import { type Axis, findAxis, tensorType } from "../ir/type.ts";

/** An input whose elements become indices one by one. */
export interface IndexFeed {
  readonly feed: Node;
  /** The op that reads the indices. */
  readonly reader: Node;
  readonly axis: string;
  readonly size: Dim;
  /** The index that the graph computes from an element of the input: `max(label, 0)` gives 0 for -100. */
  readonly chosen: (element: number) => number;
}

/**
 * The inputs of a graph that are used as indices, through elementwise ops and movements only. Indices computed from
 * several inputs or from positions are left out: their range does not follow from one element.
 */
export function indexFeeds(graph: Graph): readonly IndexFeed[] {
  return nodesOf(graph).flatMap((reader) =>
    reader.operands.flatMap((index, i) => {
      const along = roleOf(reader, i) === "index" ? axisOf(reader) : undefined;
      const feed = along && onlyFeed(index);
      return feed ? [{ feed, reader, axis: along.name, size: along.size, chosen: (x) => valueAt(index, x) }] : [];
    }),
  );
}

/** The axis that an op's attribute names: an operand's, or a new one. */
function axisOf({ attrs, operands }: Node): Axis | undefined {
  const { axis } = attrs;
  if (typeof axis !== "string") return axis as unknown as Axis | undefined;
  return operands.flatMap((operand) => findAxis(operand.type, axis) ?? [])[0];
}

/** The one input that a value is computed from elementwise, if any. */
function onlyFeed(value: Node): Node | undefined {
  const feeds = new Set<Node>();
  const follows = (node: Node): boolean => {
    if (isFeed(node)) return feeds.add(node).size === 1;
    if (sourceOf(node) === "constant") return node.type.axes.length === 0;
    return (isElementwise(node) || isAffine(node)) && node.operands.every(follows);
  };
  return follows(value) ? [...feeds][0] : undefined;
}

/** The value for this element of its input. */
function valueAt(node: Node, element: number): number {
  if (isFeed(node)) return element;
  if (isAffine(node)) return valueAt(node.operands[0]!, element);
  const scalar = ({ type }: Node) => tensorType(type.dtype, []);
  const operands = node.operands.map(
    (operand): RefTensor => ({ type: scalar(operand), data: Float64Array.of(valueAt(operand, element)) }),
  );
  return opRecord(node.op).reference(operands, node.attrs, scalar(node))[0]!;
}
