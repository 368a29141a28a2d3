/**
 * Shrinks a failing graph while it still fails: fewer outputs, nodes replaced by inputs or by their operands, shorter
 * axes. It works on the graph and not on how it was drawn, so it shrinks any graph.
 */
import {
  type Attrs,
  type AttrValue,
  type Axis,
  bindSizes,
  build,
  type Graph,
  graphSymbols,
  HeddleError,
  inputName,
  isGraphInput,
  makeGraph,
  type Node,
  nodesOf,
  OpViolation,
  type Output,
  opRecord,
  ops,
} from "../../compiler/index.ts";

/** Whether a graph still shows the fault. */
export type StillFails = (graph: Graph) => Promise<boolean>;

/** Tries smaller graphs until none fails any more or `tries` are used up. */
export async function shrink(graph: Graph, fails: StillFails, tries: number): Promise<Graph> {
  let left = tries;
  for (let smaller: Graph | undefined = graph; smaller && left > 0; ) {
    graph = smaller;
    smaller = undefined;
    for (const candidate of candidates(graph)) {
      if (left-- <= 0) break;
      if (await fails(candidate)) {
        smaller = candidate;
        break;
      }
    }
  }
  return graph;
}

/** The size of a graph to a reader: nodes count most, then elements, then outputs. */
const weigh = (graph: Graph): number =>
  nodesOf(graph).reduce((n, node) => n + 1000 * (isGraphInput(node) ? 0.9 : 1) + Math.min(500, countOf(node)), 0) +
  graph.outputs.length * 100 +
  graph.inputs.length * 10;

/** Elements; a symbolic size counts as 300, so that a number in its place is simpler. */
const countOf = (node: Node): number =>
  node.type.axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : 300), 1);

/** Smaller graphs, the largest reductions first. */
function* candidates(graph: Graph): Generator<Graph> {
  const now = weigh(graph);
  for (const make of proposals(graph)) {
    const candidate = attempt(make);
    if (candidate && weigh(candidate) < now) yield candidate;
  }
}

/** The graph of a proposal, unless it violates an op's rules. */
function attempt(make: () => Graph): Graph | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof HeddleError || error instanceof OpViolation) return undefined;
    throw error;
  }
}

function* proposals(graph: Graph): Generator<() => Graph> {
  const { outputs } = graph;
  if (outputs.length > 2) {
    const half = outputs.length >> 1;
    yield () => withOutputs(graph, outputs.slice(0, half));
    yield () => withOutputs(graph, outputs.slice(half));
  }
  if (outputs.length > 1)
    for (const o of outputs)
      yield () =>
        withOutputs(
          graph,
          outputs.filter((other) => other !== o),
        );
  yield () => makeGraph(graph.name, outputs, needed(graph, graph.updates), graph.updates);
  for (const name of Object.keys(graph.updates)) {
    const { [name]: _, ...updates } = graph.updates;
    yield () => makeGraph(graph.name, outputs, graph.inputs, updates);
  }
  const nodes = nodesOf(graph).reverse();
  for (const node of nodes) {
    if (isGraphInput(node)) continue;
    yield () => replace(graph, node, ops.input(`cut_${freeName(graph)}`, node.type.dtype, node.type.axes));
    for (const operand of node.operands) if (sameShape(operand, node)) yield () => replace(graph, node, operand);
    if (node.operands.length > 2 && node.op === "concat")
      for (const operand of node.operands)
        yield () =>
          replace(
            graph,
            node,
            ops.concat(
              node.operands.filter((o) => o !== operand),
              String(node.attrs.axis),
            ),
          );
    yield () => replace(graph, node, ops.broadcast(ops.constant(1, node.type.dtype), node.type.axes));
  }
  for (const o of outputs)
    for (const operand of o.node.operands)
      if (!(o.name in graph.updates) && operand.type.dtype !== "bool")
        yield () =>
          withOutputs(
            graph,
            outputs.map((other) => (other === o ? { ...o, node: operand } : other)),
          );
  for (const symbol of graphSymbols(graph)) yield () => bindSizes(graph, { [symbol]: 3 });
  for (const axis of axesOf(graph)) {
    yield () => resized(graph, axis, 1);
    const { size } = axis;
    if (typeof size !== "number") continue;
    yield () => resized(graph, axis, size >> 1);
    yield () => resized(graph, axis, size - 1);
  }
  for (const input of graph.inputs)
    if (input.op !== "input" || input.attrs.role)
      if (!Object.values(graph.updates).includes(inputName(input)))
        yield () => replace(graph, input, ops.input(inputName(input), input.type.dtype, input.type.axes));
}

const freeName = (graph: Graph): number => {
  const taken = new Set(graph.inputs.map(inputName));
  let n = 0;
  while (taken.has(`cut_${n}`)) n++;
  return n;
};

const sameShape = (a: Node, b: Node): boolean =>
  a.type.dtype === b.type.dtype &&
  a.type.axes.length === b.type.axes.length &&
  a.type.axes.every((x) => b.type.axes.some((y) => y.name === x.name && y.size === x.size));

function withOutputs(graph: Graph, outputs: readonly Output[]): Graph {
  const names = new Set(outputs.map((o) => o.name));
  const updates = Object.fromEntries(Object.entries(graph.updates).filter(([name]) => names.has(name)));
  return makeGraph(graph.name, outputs, needed(graph, updates), updates);
}

/** Inputs that must stay, read or not: states that are updated, and those that bind symbolic sizes. */
const needed = (graph: Graph, updates: Graph["updates"]): Node[] =>
  graph.inputs.filter((n) => Object.values(updates).includes(inputName(n)) || tellsSize(n));

const tellsSize = (n: Node): boolean =>
  n.op === "input" && n.attrs.role !== "state" && n.type.axes.some((a) => typeof a.size !== "number");

const replace = (graph: Graph, node: Node, by: Node): Graph =>
  rebuilt(graph, (n, operands) => (n === node ? by : again(n, operands, n.attrs)));

/** The node itself where its operands are unchanged, else one rebuilt on the new ones, with its type inferred again. */
function again(node: Node, operands: readonly Node[], attrs: Attrs): Node {
  const same = attrs === node.attrs && operands.every((o, i) => o === node.operands[i]);
  return same ? node : build(node.op, operands, attrs);
}

function rebuilt(graph: Graph, make: (node: Node, operands: readonly Node[]) => Node): Graph {
  const done = new Map<Node, Node>();
  for (const node of nodesOf(graph))
    done.set(
      node,
      make(
        node,
        node.operands.map((o) => done.get(o)!),
      ),
    );
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: done.get(node)! }));
  const kept = needed(graph, graph.updates).map((n) => done.get(n) ?? make(n, []));
  const result = makeGraph(graph.name, outputs, kept, graph.updates);
  assertUpdates(result);
  return result;
}

/** A state's successor must have the state's type; a replacement that reorders axes breaks that. */
function assertUpdates(graph: Graph): void {
  for (const [output, state] of Object.entries(graph.updates)) {
    const from = graph.outputs.find((o) => o.name === output)!.node.type;
    const to = graph.inputs.find((n) => inputName(n) === state)?.type;
    if (to && JSON.stringify(from) !== JSON.stringify(to)) throw new HeddleError(`${output} no longer fits ${state}`);
  }
}

/** The distinct axes of a graph's nodes that can be shortened, by name and size. */
function axesOf(graph: Graph): Axis[] {
  const found = new Map<string, Axis>();
  for (const node of nodesOf(graph))
    for (const a of node.type.axes) if (typeof a.size !== "number" || a.size > 1) found.set(`${a.name}=${a.size}`, a);
  return [...found.values()];
}

/** The graph with every axis of that name and size shortened where it is introduced, and its slices with it. */
function resized(graph: Graph, axis: Axis, size: number): Graph {
  if (size < 1 || (typeof axis.size === "number" && size >= axis.size)) throw new HeddleError("no smaller size");
  const change = (v: AttrValue): AttrValue => {
    if (Array.isArray(v)) return v.map(change);
    if (v && typeof v === "object") {
      const a = v as unknown as Axis;
      return a.name === axis.name && a.size === axis.size ? { name: a.name, size } : v;
    }
    return v;
  };
  return rebuilt(graph, (node, operands) => {
    const attrs = Object.fromEntries(
      Object.entries(node.attrs).map(([k, v]) => {
        const { kind } = opRecord(node.op).attrs[k]!;
        return [k, kind === "sized_axis" || kind === "sized_axes" ? change(v) : v];
      }),
    );
    if (Array.isArray(attrs.values)) attrs.values = attrs.values.slice(0, lengthOf(attrs.axes));
    if (node.op === "slice" && node.attrs.axis === axis.name) {
      const room = operands[0]!.type.axes.find((a) => a.name === axis.name)!.size;
      if (typeof room !== "number" || typeof attrs.start !== "number" || typeof attrs.length !== "number")
        throw new HeddleError("a slice of an open axis");
      attrs.start = Math.min(attrs.start, room - 1);
      attrs.length = Math.min(attrs.length, room - attrs.start);
    }
    return build(node.op, operands, attrs);
  });
}

const lengthOf = (axes: AttrValue | undefined): number =>
  (axes as unknown as readonly Axis[]).reduce((n, a) => n * Number(a.size), 1);
