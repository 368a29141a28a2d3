/** Lowers composite ops to their decompositions, except those that the target implements directly. */

import { InternalError } from "../diagnostics/error.ts";
import { withBirth } from "../diagnostics/source-location.ts";
import type { Pass } from "../driver/index.ts";
import { type Graph, rewriteGraph, withOperands } from "../ir/graph.ts";
import { type Node, withPath } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { type Axis, axisNames, findAxis, printType, type TensorType } from "../ir/type.ts";
import { transpose } from "../ops/index.ts";

/** The pass that decomposes the nodes that a target does not keep; `keepIn` sees the graph before the pass. */
export const decomposeFor = (keepIn: (graph: Graph) => (node: Node) => boolean): Pass => ({
  name: "decompose",
  run: (graph) => decompose(graph, keepIn(graph)),
});

/** Decomposes every node that has a decomposition and for which `keep` is false, repeatedly. */
export function decompose(graph: Graph, keep: (node: Node) => boolean): Graph {
  const lowered = new Map<Node, Node>(); // memo: each node is lowered once
  return rewriteGraph(graph, (node) => lower(node, keep, lowered));
}

/** The lowered node. Its operands are lowered already and are not visited again. */
function lower(node: Node, keep: (node: Node) => boolean, lowered: Map<Node, Node>): Node {
  const known = lowered.get(node);
  if (known) return known;
  const result = lowerOnce(node, keep, lowered);
  lowered.set(node, result);
  lowered.set(result, result);
  return result;
}

function lowerOnce(node: Node, keep: (node: Node) => boolean, lowered: Map<Node, Node>): Node {
  const record = opRecord(node.op);
  if (!record.decompose || keep(node)) return node;
  const parts = withBirth(node.birth, () =>
    withPath(node.path, () => record.decompose!(node.operands, node.attrs, node.type)),
  );
  assertSame(node, parts.type);
  // Builders choose their own axis order; users and outputs rely on the composite's.
  return lowerTree(transpose(parts, axisNames(node.type)), keep, lowered);
}

/** A decomposition must have the node's type up to axis order. Throws InternalError naming the op. */
function assertSame({ op, type }: Node, found: TensorType): void {
  const has = (a: Axis) => findAxis(found, a.name)?.size === a.size;
  if (found.dtype === type.dtype && found.axes.length === type.axes.length && type.axes.every(has)) return;
  throw new InternalError(`decompose: ${op} is ${printType(type)}, and what it decomposes into ${printType(found)}`);
}

/** Lowers composites within a decomposition; recursion is shallow, as the node's operands are lowered already. */
function lowerTree(node: Node, keep: (node: Node) => boolean, lowered: Map<Node, Node>): Node {
  const known = lowered.get(node);
  if (known) return known;
  const operands = node.operands.map((o) => lowerTree(o, keep, lowered));
  const changed = operands.some((o, i) => o !== node.operands[i]);
  const result = lower(changed ? withOperands(node, operands) : node, keep, lowered);
  lowered.set(node, result);
  return result;
}
