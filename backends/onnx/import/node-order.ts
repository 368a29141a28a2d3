/**
 * The order of nodes. The format demands that each follows what it reads; some tools do not sort, and onnxruntime does.
 */
import type { NodeMessage } from "./messages.ts";

/** The nodes, each after those that it reads from; sorted ones as they are, and those of a cycle last. */
export function inOrder(nodes: readonly NodeMessage[]): readonly NodeMessage[] {
  const makers = new Set(nodes.flatMap((node) => node.output));
  const reads = nodes.map((node) => [...readBy(node)]);
  /** How many of a node's reads are made, so that none is looked at twice. */
  const checked = nodes.map(() => 0);
  const made = new Set<string>();
  const waiting = new Map<string, number[]>();
  const order = new Set<NodeMessage>();
  const ready: number[] = [];
  for (const first of nodes.keys()) {
    ready.push(first);
    for (let at = ready.pop(); at !== undefined; at = ready.pop()) {
      const names = reads[at]!;
      while (checked[at]! < names.length && !lacks(names[checked[at]!]!)) checked[at]! += 1;
      const lacking = names[checked[at]!];
      if (lacking !== undefined) {
        const others = waiting.get(lacking);
        if (others) others.push(at);
        else waiting.set(lacking, [at]);
        continue;
      }
      order.add(nodes[at]!);
      for (const name of nodes[at]!.output) {
        made.add(name);
        for (const other of waiting.get(name)?.reverse() ?? []) ready.push(other);
        waiting.delete(name);
      }
    }
  }
  return [...order, ...nodes.filter((node) => !order.has(node))];

  function lacks(name: string): boolean {
    return makers.has(name) && !made.has(name);
  }
}

/** Names that a node reads, also within its subgraphs. */
export function* readBy(node: NodeMessage): Generator<string> {
  yield* node.input;
  for (const { g } of node.attribute)
    if (g) {
      for (const inner of g.node) yield* readBy(inner);
      for (const { name } of g.output) yield name;
    }
}
