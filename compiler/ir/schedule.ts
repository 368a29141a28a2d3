/** The order in which a graph is printed: operands before users, inputs in order, values with many users early. */

import { type Graph, inputName, isGraphInput, nodesOf, usersOf } from "./graph.ts";
import type { Node } from "./node.ts";
import { isConstant, sourceOf } from "./op.ts";

export interface Listing {
  /** Inputs printed in the signature. */
  readonly signature: readonly Node[];
  /** All other nodes, in order, except scalar constants. */
  readonly nodes: readonly Node[];
}

/** Scalar constants are written inline at their uses. */
export const isScalarConstant = (node: Node): boolean =>
  isConstant(node) && Object.keys(node.attrs).length === 2 && typeof node.attrs.value === "number";

/**
 * Lists a graph's nodes with its inputs in order. Values with many users, such as a mask that every layer reads, come
 * as soon as their operands do: computed inside the first layer, they would make it differ from the others.
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

  /** Marks a node as listed and lists the early nodes that waited only for it; iterative, for deep graphs. */
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

/** The leading inputs that do not belong to a numbered family, such as the caches of 48 layers. */
function signatureOf(graph: Graph): Node[] {
  const end = graph.inputs.findIndex((n) => {
    const plain = sourceOf(n) === "input" && (n.attrs.role ?? "state") === "state";
    return !plain || /(^|[^A-Za-z0-9_])\d+([^A-Za-z0-9_]|$)/.test(inputName(n));
  });
  return graph.inputs.slice(0, end < 0 ? graph.inputs.length : end);
}

/** A value with at least this many users is listed early. */
const manyUsers = 8;

interface Early {
  /** For each node, its users that are listed early. */
  readonly users: ReadonlyMap<Node, readonly Node[]>;
  /** Early nodes with no operands to wait for. */
  readonly roots: readonly Node[];
}

/** Values with many users, and nodes used only by such values. Inputs keep their own order. */
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
