/**
 * Cuts a graph into parts that run one after another, so that only one part's parameters need to be in memory at a
 * time. If a model repeats a block, its parts are equal graphs and are compiled once.
 */
import { InternalError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import { dimValue, type Sizes } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { type Graph, inputName, isGraphInput, makeGraph, nodesOf, type Output, withOperands } from "../ir/graph.ts";
import { zeros } from "../ir/initializer.ts";
import { intern, type Node } from "../ir/node.ts";
import { isParameter, opRecord } from "../ir/op.ts";
import { elementsOf } from "../ir/type.ts";
import { input } from "../ops/index.ts";
import { readersTogether } from "./readers-together.ts";

/** Names within a part, by index; names in models contain no percent sign. */
export const partNames = {
  weight: (i: number): string => `%weight.${i}`,
  value: (i: number): string => `%value.${i}`,
  result: (i: number): string => `%result.${i}`,
} as const;

export interface Part {
  /**
   * Parameters, values of earlier parts and results are named by `partNames`; inputs of the whole graph keep their
   * names. Equal parts are identical nodes.
   */
  readonly graph: Graph;
  /** The name of each weight in the whole graph. */
  readonly weights: readonly string[];
  /** The source of each value. */
  readonly values: readonly PartValue[];
  /** The whole graph's node of each result, by index. */
  readonly results: readonly Node[];
  /** Outputs of the whole graph that this part computes, with the index of their result. */
  readonly outputs: readonly { readonly name: string; readonly result: number }[];
  /** Bytes of the weights. */
  readonly bytes: number;
}

/** A result of an earlier part. */
export interface PartValue {
  readonly part: number;
  readonly result: number;
}

export interface CutOptions {
  /** Outputs that count like parameters, since they occupy memory until they are read. Default none. */
  readonly held?: readonly string[];
  /** The part that computes the outputs that any part could. Default the first. */
  readonly anywhere?: "first" | "last";
}

/**
 * Parts whose parameters take at most `most` bytes, or are those of a single node. Cuts are placed where the least data
 * crosses them, with `sizes` for symbolic sizes, which stay symbolic in the parts. Recomputed in each part that uses
 * them: masks, positions and other cheap values that depend on no parameter, casts of weights, and what is cheap to
 * compute from values that cross the cut anyway. Needs a graph that updates nothing.
 */
export function partition(graph: Graph, most: number, sizes: Sizes = {}, options: CutOptions = {}): Part[] {
  if (Object.keys(graph.updates).length > 0) throw new InternalError("partition: the graph updates state");
  return withoutCapture(() => {
    const plan = planOf(graph, most, sizes, options);
    return Array.from({ length: plan.count }, (_, i) => new PartBuilder(plan, i).build());
  });
}

interface Plan {
  readonly graph: Graph;
  readonly order: readonly Node[];
  /**
   * The part of every node that is computed once, in the order of computation; nodes without one are recomputed
   * wherever they are used.
   */
  readonly part: ReadonlyMap<Node, number>;
  readonly count: number;
  /** What each part passes to later parts or outputs. */
  readonly results: readonly (readonly Node[])[];
  /** The part that computes an output. */
  readonly ownerOf: (node: Node) => number;
  /** What each part recomputes that an earlier part computed. */
  readonly again: readonly ReadonlySet<Node>[];
}

function planOf(graph: Graph, most: number, sizes: Sizes, { held, anywhere }: CutOptions): Plan {
  const order = nodesOf(graph);
  const isPlaced = (n: Node) => !isParameter(n) && !isFree(n) && !isOfWeights(n);
  const placed = readersTogether(order.filter(isPlaced), parametersBelow);
  const handed = handedOn(placed, sizes);
  const heldNodes = new Set(graph.outputs.flatMap(({ name, node }) => (held?.includes(name) ? [node] : [])));
  const part = new Map<Node, number>();
  let count = 0;
  for (let from = 0; from < placed.length; count++) {
    const to = endOf(placed, handed, from, most, (node) => (heldNodes.has(node) ? bytesOf(node, sizes) : 0));
    for (const node of placed.slice(from, to)) part.set(node, count);
    from = to;
  }
  count = Math.max(count, 1); // a graph of free nodes only
  const ownerOf = (node: Node): number => part.get(node) ?? (anywhere === "last" ? count - 1 : 0);
  const again = computedAgain(order, part, count);
  return { graph, order, part, count, ownerOf, again, results: resultsOf(graph, order, part, count, ownerOf, again) };
}

/**
 * Per part, the values of earlier parts that it recomputes instead of receiving: cheap ones whose operands it receives
 * anyway, such as an activation next to its operand.
 */
function computedAgain(order: readonly Node[], part: ReadonlyMap<Node, number>, count: number): Set<Node>[] {
  const brought = Array.from({ length: count }, () => new Set<Node>());
  for (const node of order) {
    const user = part.get(node);
    if (user !== undefined) for (const o of sourcesOf(node, part)) if (part.get(o) !== user) brought[user]!.add(o);
  }
  return brought.map((values, p) => {
    const again = new Set<Node>();
    for (const node of values) {
      const sources = sourcesOf(node, part);
      const isThere = (o: Node) => part.get(o) === p || values.has(o);
      if (isCheap(node) && sources.length > 0 && sources.every(isThere)) again.add(node);
    }
    return again;
  });
}

/** The operands that are computed once. */
const sourcesOf = (node: Node, part: ReadonlyMap<Node, number>): Node[] => node.operands.filter((o) => part.has(o));

function resultsOf(
  graph: Graph,
  order: readonly Node[],
  part: ReadonlyMap<Node, number>,
  count: number,
  ownerOf: Plan["ownerOf"],
  again: Plan["again"],
): Node[][] {
  const wanted = new Set(graph.outputs.map((o) => o.node));
  for (const node of order) {
    const user = part.get(node);
    if (user === undefined) continue;
    for (const o of sourcesOf(node, part)) if (part.get(o) !== user && !again[user]!.has(o)) wanted.add(o);
  }
  const results = Array.from({ length: count }, (): Node[] => []);
  for (const node of order) if (wanted.has(node)) results[ownerOf(node)]!.push(node);
  return results;
}

function isCheap({ op }: Node): boolean {
  const { kind } = opRecord(op);
  return kind === "source" || kind === "elementwise" || kind === "movement";
}

const free = new WeakMap<Node, boolean>();

/** Whether a node is cheap to recompute: movements and elementwise ops of inputs and constants, no parameters. */
function isFree(node: Node): boolean {
  const known = free.get(node);
  if (known !== undefined) return known;
  // Called in topological order and memoized, so the recursion is one level deep.
  const result = !isParameter(node) && isCheap(node) && node.operands.every(isFree);
  free.set(node, result);
  return result;
}

const ofWeights = new WeakMap<Node, boolean>();

/** Whether a node is a cheap function of parameters, such as a cast weight: computed where it is used, next to them. */
function isOfWeights(node: Node): boolean {
  const known = ofWeights.get(node);
  if (known !== undefined) return known;
  const isWeight = (o: Node) => isParameter(o) || isOfWeights(o);
  const result = isCheap(node) && node.operands.some(isWeight) && node.operands.every((o) => isWeight(o) || isFree(o));
  ofWeights.set(node, result);
  return result;
}

/** The parameters that a node reads, directly or through cheap functions of them. */
const parametersBelow = (node: Node): Node[] =>
  node.operands.flatMap((o) => (isParameter(o) ? [o] : isOfWeights(o) ? parametersBelow(o) : []));

const bytesOf = (node: Node, sizes: Sizes = {}): number =>
  dimValue(elementsOf(node.type), sizes) * dtypeBytes[node.type.dtype];

/** The bytes that cross a cut after each node: of values computed before it and used after it. */
function handedOn(placed: readonly Node[], sizes: Sizes): number[] {
  const at = new Map(placed.map((n, i) => [n, i]));
  const lastUse = placed.map((_, i) => i);
  placed.forEach((node, i) => {
    for (const operand of node.operands) {
      const k = at.get(operand);
      if (k !== undefined) lastUse[k] = i;
    }
  });
  const change = new Array<number>(placed.length + 1).fill(0);
  placed.forEach((node, i) => {
    change[i]! += bytesOf(node, sizes);
    change[lastUse[i]!]! -= bytesOf(node, sizes);
  });
  let alive = 0;
  return placed.map((_, i) => (alive += change[i]!));
}

/**
 * The end of the part that begins at `from`: within the parameter budget, where the fewest bytes cross the cut per byte
 * of parameters.
 */
function endOf(
  placed: readonly Node[],
  handed: readonly number[],
  from: number,
  most: number,
  heldBytes: (node: Node) => number,
): number {
  const seen = new Set<Node>();
  let [bytes, best, least] = [0, from, Infinity];
  for (let i = from; i < placed.length; i++) {
    for (const p of parametersBelow(placed[i]!)) {
      if (seen.has(p)) continue;
      seen.add(p);
      bytes += bytesOf(p);
    }
    bytes += heldBytes(placed[i]!);
    if (bytes > most && best > from) return best;
    // The next node would bring a parameter of this part again.
    if (placed[i + 1] && parametersBelow(placed[i + 1]!).some((p) => seen.has(p))) continue;
    const ratio = handed[i]! / bytes;
    // A part has at least one parameter.
    if (bytes > 0 && ratio <= least) [best, least] = [i + 1, ratio];
    if (bytes > most) return Math.max(best, i + 1);
  }
  return placed.length;
}

class PartBuilder {
  private readonly plan: Plan;
  private readonly index: number;
  private readonly made = new Map<Node, Node>();
  private readonly weights: string[] = [];
  private readonly values: PartValue[] = [];
  private bytes = 0;

  constructor(plan: Plan, index: number) {
    this.plan = plan;
    this.index = index;
  }

  build(): Part {
    const { graph, part, results, ownerOf } = this.plan;
    for (const [node, p] of part) if (p === this.index) this.made.set(node, this.rebuilt(node));
    const own = results[this.index]!;
    const outputs = own.map((node, i): Output => ({ name: partNames.result(i), node: this.use(node) }));
    return {
      graph: makeGraph("part", outputs),
      weights: this.weights,
      values: this.values,
      results: own,
      outputs: graph.outputs.flatMap(({ name, node }) =>
        ownerOf(node) === this.index ? [{ name, result: own.indexOf(node) }] : [],
      ),
      bytes: this.bytes,
    };
  }

  private rebuilt(node: Node): Node {
    const operands = node.operands.map((o) => this.use(o));
    return operands.every((o, i) => o === node.operands[i]) ? node : withOperands(node, operands);
  }

  /** The part's version of a node. */
  private use(node: Node): Node {
    const known = this.made.get(node);
    if (known) return known;
    const made = this.brought(node);
    this.made.set(node, made);
    return made;
  }

  private brought(node: Node): Node {
    if (isParameter(node)) return this.weight(node);
    if (isGraphInput(node)) return node;
    const part = this.plan.part.get(node);
    if (part === undefined || this.plan.again[this.index]!.has(node)) return this.rebuilt(node);
    const value = input(partNames.value(this.values.length), node.type.dtype, node.type.axes);
    this.values.push({ part, result: this.plan.results[part]!.indexOf(node) });
    return value;
  }

  /** The initializer is dropped, so that equal parts are identical. */
  private weight(node: Node): Node {
    const attrs = { ...node.attrs, name: partNames.weight(this.weights.length), init: { ...zeros } };
    this.weights.push(inputName(node));
    this.bytes += bytesOf(node);
    return intern("parameter", [], attrs, node.type, node.birth, node.path);
  }
}
