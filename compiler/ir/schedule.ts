/** The order in which a graph is written down: operands before users, inputs in their order, what many read as early as it can be. */

import { type Graph, inputName, isGraphInput, nodesOf, usersOf } from "./graph.ts";
import type { Node } from "./node.ts";
import { isConstant, sourceOf } from "./op.ts";

export interface Listing {
  /** Inputs that stand in the signature. */
  readonly signature: readonly Node[];
  /** All other nodes, in their order, but for the scalar constants. */
  readonly nodes: readonly Node[];
}

/** Scalars without axes are written where they are used. */
export const isScalarConstant = (node: Node): boolean =>
  isConstant(node) && Object.keys(node.attrs).length === 2 && typeof node.attrs.value === "number";

/**
 * Lists a graph's nodes so that reading them in order gives its inputs in their order. Values with many users, such as a
 * mask that every layer reads, come as soon as their operands are there: found in the first layer only, they would make
 * that layer differ from the others.
 */
export function listing(graph: Graph): Listing {
  const signature = signatureOf(graph);
  const order = nodesOf(graph);
  const early = earlyNodes(order);
  const done = new Set<Node>(order.filter(isScalarConstant));
  const nodes: Node[] = [];
  let next = signature.length;
  for (const node of signature) settle(node);
  for (const node of early.roots) emit(node);
  for (const node of order) {
    if (done.has(node)) continue;
    if (isGraphInput(node)) while (!done.has(node)) emit(graph.inputs[next++]!);
    else emit(node);
  }
  while (next < graph.inputs.length) emit(graph.inputs[next++]!);
  return { signature, nodes };

  function emit(node: Node): void {
    if (done.has(node)) return;
    nodes.push(node);
    settle(node);
  }

  /** Marks a node as written and writes what has waited for nothing else; iterative, so depth is no limit. */
  function settle(first: Node): void {
    const queue = [first];
    done.add(first);
    for (let node = queue.pop(); node; node = queue.pop()) {
      for (const user of early.users.get(node) ?? []) {
        if (done.has(user) || !user.operands.every((o) => done.has(o))) continue;
        done.add(user);
        nodes.push(user);
        queue.push(user);
      }
    }
  }
}

/** The inputs that come first and are no part of a numbered family, such as the caches of 48 layers. */
function signatureOf(graph: Graph): Node[] {
  const end = graph.inputs.findIndex((n) => {
    const plain = sourceOf(n) === "input" && (n.attrs.role ?? "state") === "state";
    return !plain || /(^|[^A-Za-z0-9_])\d+([^A-Za-z0-9_]|$)/.test(inputName(n));
  });
  return graph.inputs.slice(0, end < 0 ? graph.inputs.length : end);
}

/** Used at least this often, a value is worth having early. */
const manyUsers = 8;

interface Early {
  /** For each node, its users that are to be written as soon as they can. */
  readonly users: ReadonlyMap<Node, readonly Node[]>;
  /** Those that wait for nothing. */
  readonly roots: readonly Node[];
}

/** Values with many users, and what leads to one of them and nowhere else. Inputs keep their own order. */
function earlyNodes(order: readonly Node[]): Early {
  const users = usersOf(order);
  const wanted = new Set<Node>();
  for (const node of order.toReversed()) {
    const own = users.get(node)!;
    const leads = own.length > 0 && own.every((u) => wanted.has(u));
    if (!isGraphInput(node) && !isScalarConstant(node) && (leads || own.length >= manyUsers)) wanted.add(node);
  }
  const early = new Map([...users].map(([node, list]) => [node, list.filter((u) => wanted.has(u))] as const));
  const roots = order.filter((n) => wanted.has(n) && n.operands.every(isScalarConstant));
  return { users: early, roots };
}
