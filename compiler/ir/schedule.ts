/** The order in which a graph is written down: operands before users, inputs in their order, shared tables first. */
import { type Graph, inputName, isGraphInput, nodesOf } from "./graph.ts";
import type { Node } from "./node.ts";

export interface Listing {
  /** Inputs that stand in the signature. */
  readonly signature: readonly Node[];
  /** All other nodes, in their order, but for the scalar constants. */
  readonly nodes: readonly Node[];
}

/** Scalars without axes are written where they are used. */
export const isScalarConstant = (node: Node): boolean =>
  node.op === "constant" && Object.keys(node.attrs).length === 2 && typeof node.attrs.value === "number";

/** Lists a graph's nodes so that reading them in order gives its inputs in their order. */
export function listing(graph: Graph): Listing {
  const signature = signatureOf(graph);
  const order = [...sharedTables(graph, new Set(signature)), ...nodesOf(graph)];
  const done = new Set<Node>(signature);
  const nodes: Node[] = [];
  let next = signature.length;
  for (const node of order) {
    if (done.has(node) || isScalarConstant(node)) continue;
    if (isGraphInput(node)) while (!done.has(node)) emit(graph.inputs[next++]!);
    else emit(node);
  }
  while (next < graph.inputs.length) emit(graph.inputs[next++]!);
  return { signature, nodes };

  function emit(node: Node): void {
    done.add(node);
    nodes.push(node);
  }
}

/** The inputs that come first and are no part of a numbered family, such as the caches of 48 layers. */
function signatureOf(graph: Graph): Node[] {
  const end = graph.inputs.findIndex((n) => {
    const plain = n.op === "input" && (n.attrs.role ?? "state") === "state";
    return !plain || /(^|[^A-Za-z0-9_])\d+([^A-Za-z0-9_]|$)/.test(inputName(n));
  });
  return graph.inputs.slice(0, end < 0 ? graph.inputs.length : end);
}

/** Used at least this often, a value that depends on no parameter is a table that all layers share. */
const manyUsers = 3;

/**
 * Masks, positions and the like, which every layer reads. Written before the first layer, they leave the layers alike;
 * where they are found first, the first layer would differ from the others by them.
 */
function sharedTables(graph: Graph, signature: ReadonlySet<Node>): Node[] {
  const nodes = nodesOf(graph);
  const users = new Map<Node, number>();
  const free = new Set<Node>();
  for (const node of nodes) {
    for (const o of node.operands) users.set(o, (users.get(o) ?? 0) + 1);
    const own = isGraphInput(node) ? signature.has(node) : true;
    if (own && node.operands.every((o) => free.has(o))) free.add(node);
  }
  const wanted = new Set<Node>();
  for (const node of nodes.toReversed()) {
    const shared = free.has(node) && (wanted.has(node) || (users.get(node) ?? 0) >= manyUsers);
    if (!shared || isScalarConstant(node)) continue;
    wanted.add(node);
    for (const o of node.operands) wanted.add(o);
  }
  return nodes.filter((n) => wanted.has(n) && free.has(n));
}
