/** Graphs: named outputs, the nodes they depend on, and which outputs replace which inputs. */

import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { UsageError } from "../diagnostics/error.ts";
import { withoutCapture } from "../diagnostics/source-location.ts";
import { bindDim, type Dim, printBounds, type SizeSymbol, type SymbolicDim, symbolsOf } from "./dim.ts";
import type { Attrs, AttrValue, Node } from "./node.ts";
import { intern } from "./node.ts";
import { type AttrKind, isFeed, opRecord, type SourceKind, sourceOf } from "./op.ts";
import type { Axis } from "./type.ts";

export interface Output {
  readonly name: string;
  readonly node: Node;
}

/** Named outputs, and the inputs that they need. */
export interface Graph {
  readonly name: string;
  /** The `input`, `parameter` and `random` nodes, in the order of the signature. */
  readonly inputs: readonly Node[];
  readonly outputs: readonly Output[];
  /** Output name to the name of the state input that it replaces after a run (in place if the backend can). */
  readonly updates: Readonly<Record<string, string>>;
}

const given: ReadonlySet<SourceKind | undefined> = new Set<SourceKind>(["input", "parameter", "random"]);
/** True for inputs, parameters and random draws: sources that have a value only when the graph runs. */
export const isGraphInput = (node: Node): boolean => given.has(sourceOf(node));
export const inputName = (node: Node): string => String(node.attrs.name);

/**
 * Makes a graph of named outputs. The `declared` inputs come first, even when unused; the others are found by
 * traversal, feeds before parameters and state.
 * Throws UsageError when two different inputs, two outputs, or two symbols with different bounds share a name.
 */
export function makeGraph(
  name: string,
  outputs: readonly Output[],
  declared: readonly Node[] = [],
  updates: Readonly<Record<string, string>> = {},
): Graph {
  const nodes = topological(outputs.map((o) => o.node));
  const found = nodes.filter(isGraphInput);
  const inputs = new Set([...declared, ...found.filter(isFeed), ...found]);
  assertUnique([...inputs].map(inputName), "input");
  assertUnique(
    outputs.map((o) => o.name),
    "output",
  );
  assertOneSize(symbolsIn([...declared, ...nodes]));
  // No prototype: an output may be named like a property of Object, such as "toString".
  return { name, inputs: [...inputs], outputs, updates: Object.assign(Object.create(null), updates) };
}

function assertOneSize(symbols: readonly SizeSymbol[]): void {
  const seen = new Map<string, SizeSymbol>();
  for (const s of symbols) {
    const other = seen.get(s.name);
    if (other) {
      const bounds = `${printBounds(other)} and ${printBounds(s)}`;
      throw new UsageError(
        `two sizes are named "${s.name}", with different bounds: ${bounds}. Declare it once and share it`,
      );
    }
    seen.set(s.name, s);
  }
}

function assertUnique(names: readonly string[], what: string): void {
  const seen = new Set<string>();
  for (const n of names) {
    if (seen.has(n)) throw new UsageError(`two different ${what}s are named "${n}": give each its own name or path`);
    seen.add(n);
  }
}

/** Every node reachable from the roots, operands before users; iterative, so deep graphs do not overflow the stack. */
export function topological(roots: readonly Node[]): Node[] {
  const order: Node[] = [];
  const done = new Set<Node>();
  const stack: { node: Node; next: number }[] = [];
  for (const root of roots) {
    if (!done.has(root)) stack.push({ node: root, next: 0 });
    done.add(root);
    while (stack.length > 0) {
      const top = stack[stack.length - 1]!;
      const operand = top.node.operands[top.next++];
      if (operand === undefined) {
        order.push(top.node);
        stack.pop();
      } else if (!done.has(operand)) {
        done.add(operand);
        stack.push({ node: operand, next: 0 });
      }
    }
  }
  return order;
}

export const nodesOf = (graph: Graph): Node[] => topological(graph.outputs.map((o) => o.node));

/** The users of each node among `nodes`. */
export function usersOf(nodes: readonly Node[]): Map<Node, Node[]> {
  const users = new Map<Node, Node[]>(nodes.map((n) => [n, []]));
  for (const node of nodes) for (const operand of node.operands) users.get(operand)!.push(node);
  return users;
}

/** Rewrites a node whose operands are already rewritten; returns `node` to keep it. */
export type Rewrite = (node: Node, original: Node) => Node;

/** Rebuilds everything reachable from `roots` bottom-up, each node once, keeping births and paths. */
export function rewriteNodes(roots: readonly Node[], rewrite: Rewrite): Map<Node, Node> {
  return withoutCapture(() => {
    const result = new Map<Node, Node>();
    for (const node of topological(roots)) {
      const operands = node.operands.map((o) => result.get(o)!);
      const changed = operands.some((o, i) => o !== node.operands[i]);
      result.set(node, rewrite(changed ? withOperands(node, operands) : node, node));
    }
    return result;
  });
}

/** The same op on other operands; the type is inferred again. */
export function withOperands(node: Node, operands: readonly Node[]): Node {
  const type = opRecord(node.op).infer(
    operands.map((o) => o.type),
    node.attrs,
  );
  return intern(node.op, operands, node.attrs, type, node.birth, node.path);
}

export function rewriteGraph(graph: Graph, rewrite: Rewrite): Graph {
  return mapGraph(graph, rewriteNodes([...graph.inputs, ...graph.outputs.map((o) => o.node)], rewrite));
}

const mapGraph = (graph: Graph, map: ReadonlyMap<Node, Node>): Graph => ({
  ...graph,
  inputs: graph.inputs.map((n) => map.get(n)!).filter(isGraphInput),
  outputs: graph.outputs.map((o) => ({ name: o.name, node: map.get(o.node)! })),
});

/** The subgraph that the named outputs need. Throws UsageError for a name that is not an output. */
export function selectOutputs(graph: Graph, names: readonly string[]): Graph {
  const outputs = names.map((name) => {
    const found = graph.outputs.find((o) => o.name === name);
    if (found) return found;
    const known = graph.outputs.map((o) => o.name);
    throw new UsageError(`graph @${graph.name} has no output "${name}"${didYouMean(name, known)}`);
  });
  return makeGraph(graph.name, outputs);
}

/** The names of the symbols in the sizes of a graph's inputs, sorted. */
export const graphSymbols = (graph: Graph): string[] =>
  [...new Set(graph.inputs.flatMap((n) => n.type.axes.flatMap((a) => symbolsOf(a.size).map((s) => s.name))))].sort();

/** The names of all symbols in a graph, sorted: those that a run must bind. */
export const openSizes = (graph: Graph): string[] => symbolsIn([...graph.inputs, ...nodesOf(graph)]).map((s) => s.name);

/** Every symbol in the sizes of nodes, in types and attributes, sorted by key. */
export function symbolsIn(nodes: readonly Node[]): SizeSymbol[] {
  const sizes = new Set<SymbolicDim>();
  const add = (size: Dim) => {
    if (typeof size !== "number") sizes.add(size);
  };
  for (const { op, attrs, type } of nodes) {
    for (const { size } of type.axes) add(size);
    for (const [name, { kind }] of Object.entries(opRecord(op).attrs)) {
      const value = attrs[name];
      if (value === undefined) continue;
      if (kind === "dim") add(value as Dim);
      else if (kind === "sized_axis") add((value as unknown as Axis).size);
      else if (kind === "sized_axes") for (const { size } of value as unknown as readonly Axis[]) add(size);
    }
  }
  return [...new Set([...sizes].flatMap(symbolsOf))].sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** The graph with symbols replaced by numbers or other sizes, in types and attributes. */
export function bindSizes(graph: Graph, sizes: Readonly<Record<string, Dim>>): Graph {
  const bound = new Map<Node, Node>();
  for (const node of topological([...graph.inputs, ...graph.outputs.map((o) => o.node)])) {
    const record = opRecord(node.op);
    const operands = node.operands.map((o) => bound.get(o)!);
    const attrs: Attrs = Object.fromEntries(
      Object.entries(node.attrs).map(([k, v]) => [k, bindAttr(v, record.attrs[k]?.kind, sizes)]),
    );
    const type = record.infer(
      operands.map((o) => o.type),
      attrs,
    );
    bound.set(node, intern(node.op, operands, attrs, type, node.birth, node.path));
  }
  return mapGraph(graph, bound);
}

function bindAttr(value: AttrValue, kind: AttrKind | undefined, sizes: Readonly<Record<string, Dim>>): AttrValue {
  if (kind === "dim") return bindDim(value as Dim, sizes);
  if (kind === "sized_axis") return bindAxis(value as unknown as Axis, sizes) as unknown as AttrValue;
  if (kind === "sized_axes") return (value as unknown as Axis[]).map((a) => bindAxis(a, sizes)) as unknown as AttrValue;
  return value;
}

const bindAxis = (a: Axis, sizes: Readonly<Record<string, Dim>>): Axis => ({
  name: a.name,
  size: bindDim(a.size, sizes),
});
