/** Which order of axes the users of a node would like best: outputs are written in theirs, and it travels up to what makes them. */
import { type Axis, type Graph, type Node, nodesOf, opRecord } from "../../../compiler/index.ts";

/** Orders by node; nodes of which nobody asks anything are missing. The last user in the graph decides. */
export function layoutHints(graph: Graph): Map<Node, readonly string[]> {
  const hints = new Map<Node, readonly string[]>();
  for (const { node } of graph.outputs) {
    hints.set(
      node,
      node.type.axes.map((a) => a.name),
    );
  }
  for (const node of nodesOf(graph).reverse()) {
    const own = hints.get(node);
    if (!own) continue;
    const order = throughOp(node, own);
    for (const operand of node.operands) {
      if (!order || hints.has(operand)) continue;
      const wished = order.filter((n) => operand.type.axes.some((a) => a.name === n));
      if (wished.length > 1) hints.set(operand, wished);
    }
  }
  return hints;
}

/** The order asked of the operands when the result is asked for in `own`; undefined where the op lays them out anew. */
function throughOp({ op, attrs }: Node, own: readonly string[]): readonly string[] | undefined {
  switch (op) {
    case "rename":
      return own.map((n) => (n === attrs.to ? (attrs.axis as string) : n));
    case "merge":
      return own.flatMap((n) => (n === attrs.into ? (attrs.axes as string[]) : [n]));
    case "split": {
      const [outer] = attrs.into as unknown as Axis[];
      const parts = (attrs.into as unknown as Axis[]).map((a) => a.name);
      return own.flatMap((n) => (n === outer!.name ? [attrs.axis as string] : parts.includes(n) ? [] : [n]));
    }
    case "transpose":
    case "slice":
    case "pad":
    case "concat":
    case "broadcast":
    case "cast":
      return own;
    default:
      return opRecord(op).kind === "elementwise" ? own : undefined;
  }
}
