/** Checks the invariants of a graph between passes. A failure is a compiler bug and names the pass. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, inputName, isGraphInput, nodesOf } from "./graph.ts";
import type { Node } from "./node.ts";
import { opRecord } from "./op.ts";
import { printType, sameType } from "./type.ts";

/** Throws InternalError when a node's type is not what its op infers, an input is missing, or an update is invalid. */
export function verifyGraph(graph: Graph, pass: string): void {
  const fail = (message: string): never => {
    throw new InternalError(`after pass "${pass}", graph @${graph.name}: ${message}`);
  };
  const inputs = new Set(graph.inputs);
  for (const node of nodesOf(graph)) {
    verifyNode(node, fail);
    if (isGraphInput(node) && !inputs.has(node))
      fail(`${node.op} "${inputName(node)}" is used but not in the signature`);
  }
  for (const [output, input] of Object.entries(graph.updates)) {
    const from = graph.outputs.find((o) => o.name === output);
    const to = graph.inputs.find((n) => inputName(n) === input);
    if (!from || !to) fail(`the update ${output} -> ${input} names what is not there`);
    else if (!sameType(from.node.type, to.type)) {
      fail(`the update ${output} is ${printType(from.node.type)} but ${input} is ${printType(to.type)}`);
    }
  }
}

/** Nodes already verified: nodes are immutable, and most passes keep most of them. */
const verified = new WeakSet<Node>();

function verifyNode(node: Node, fail: (message: string) => never): void {
  if (verified.has(node)) return;
  const inferred = opRecord(node.op).infer(
    node.operands.map((o) => o.type),
    node.attrs,
  );
  if (!sameType(inferred, node.type))
    fail(`${node.op} is ${printType(node.type)}, its op infers ${printType(inferred)}`);
  verified.add(node);
}
