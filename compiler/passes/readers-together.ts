/**
 * An order of computation in which independent readers of one parameter follow each other. Where a model runs the same
 * layers twice, such as a text encoder on captions and on queries, each layer's weights are then needed once, not once
 * for each run.
 */
import type { Node } from "../ir/node.ts";

/**
 * The same nodes in another topological order. Takes them in topological order, and the parameters that a node reads.
 * Nodes that read no shared parameter keep their order; so do readers of which one depends on the other, such as the
 * forward and the backward product of one weight.
 */
export function readersTogether(nodes: readonly Node[], parametersOf: (node: Node) => readonly Node[]): Node[] {
  const groups = independentReaders(nodes, parametersOf);
  if (groups.size === 0) return [...nodes];
  return new Orderer(nodes, groups).run();
}

/** For each node that shares a parameter with nodes independent of it: all of them, itself included. */
function independentReaders(
  nodes: readonly Node[],
  parametersOf: (node: Node) => readonly Node[],
): Map<Node, readonly Node[]> {
  const at = new Map(nodes.map((n, i) => [n, i]));
  const operands = nodes.map((n) => n.operands.flatMap((o) => at.get(o) ?? []));
  const readers = new Map<Node, number[]>();
  nodes.forEach((node, i) => {
    for (const p of new Set(parametersOf(node))) readers.set(p, [...(readers.get(p) ?? []), i]);
  });
  const groups = new Map<Node, readonly Node[]>();
  for (const own of readers.values()) {
    if (own.length < 2) continue;
    for (const group of byDepth(own, operands).values()) {
      if (group.length < 2) continue;
      const members = group.map((i) => nodes[i]!);
      for (const member of members) groups.set(member, members);
    }
  }
  return groups;
}

/**
 * The readers of one parameter by how many of them lie on the longest path to each: those of equal depth are
 * independent.
 */
function byDepth(readers: readonly number[], operands: readonly (readonly number[])[]): Map<number, number[]> {
  const [first, last] = [readers[0]!, readers.at(-1)!];
  const isReader = new Set(readers);
  const depth = new Uint16Array(last - first + 1);
  const byDepth = new Map<number, number[]>();
  for (let i = first; i <= last; i++) {
    let most = 0;
    for (const o of operands[i]!) if (o >= first) most = Math.max(most, depth[o - first]!);
    depth[i - first] = most;
    if (!isReader.has(i)) continue;
    depth[i - first] = most + 1;
    byDepth.set(most, [...(byDepth.get(most) ?? []), i]);
  }
  return byDepth;
}

class Orderer {
  private readonly nodes: readonly Node[];
  private readonly groups: ReadonlyMap<Node, readonly Node[]>;
  private readonly at: ReadonlyMap<Node, number>;
  private readonly done = new Set<Node>();
  /** Nodes whose group is being gathered. */
  private readonly waiting = new Set<Node>();
  private readonly out: Node[] = [];

  constructor(nodes: readonly Node[], groups: ReadonlyMap<Node, readonly Node[]>) {
    this.nodes = nodes;
    this.groups = groups;
    this.at = new Map(nodes.map((n, i) => [n, i]));
  }

  run(): Node[] {
    for (const node of this.nodes) this.place(node);
    return this.out;
  }

  /** Places a node whose operands are placed, and its group next to it. */
  private place(node: Node): void {
    if (this.done.has(node)) return;
    const group = this.groups.get(node);
    const others = group?.filter((other) => other !== node && !this.done.has(other)) ?? [];
    this.waiting.add(node);
    const ready = others.filter((other) => this.prepare(other));
    this.waiting.delete(node);
    this.append(node);
    for (const other of ready) this.append(other);
  }

  private append(node: Node): void {
    if (this.done.has(node)) return;
    this.done.add(node);
    this.out.push(node);
  }

  /** Places all that a node depends on; false if that includes a node that waits for this one. */
  private prepare(node: Node): boolean {
    const needed = this.unplacedBelow(node);
    if (!needed) return false;
    for (const operand of needed) this.place(operand);
    return true;
  }

  /** The nodes below a node that are not placed, in order; undefined if one of them waits. */
  private unplacedBelow(node: Node): Node[] | undefined {
    const found = new Set<Node>();
    const pending = [node];
    for (let next = pending.pop(); next; next = pending.pop()) {
      for (const o of next.operands) {
        if (!this.at.has(o) || this.done.has(o) || found.has(o)) continue;
        if (this.waiting.has(o)) return undefined;
        found.add(o);
        pending.push(o);
      }
    }
    return [...found].sort((a, b) => this.at.get(a)! - this.at.get(b)!);
  }
}
