/**
 * A graph of f32 computed in f16 where that is safe: products, activations and what moves data. Sums, norm statistics,
 * exponentials and what feeds only those stay f32, and so do the graph's inputs and outputs. So does the residual stream,
 * which grows with depth: in trained encoders it passes what f16 holds, and its norm makes it small again.
 */
import {
  coreOf,
  type Graph,
  inputName,
  intern,
  isConstant,
  isGraphInput,
  isParameter,
  makeGraph,
  type Node,
  nodesOf,
  opRecord,
  ops,
  type Pass,
  type TensorType,
  usersOf,
} from "../../../compiler/index.ts";
import { isExpressible } from "../emit/table.ts";
import type { EmitOptions } from "../options.ts";

const policyOf = (node: Node) => opRecord(node.op).half;

/** True for what is computed as its operands are. */
const follows = (node: Node): boolean =>
  policyOf(node) === "as_operands" || policyOf(node) === "as_operands_but_streams";

/** The largest f16, and the smallest that is not 0 on either side: beyond them a constant needs f32. */
const range = { largest: 65504, smallest: 6e-8 } as const;

/** Leaves a graph as it is unless f16 is asked for. */
export const halfPrecision = (options: EmitOptions): Pass => ({
  name: "half-precision",
  run: (graph) => (options.precision === "f16" ? inHalf(graph, (node) => isExpressible(node, options)) : graph),
});

/** The graph with parameters, and the ops whose records allow it, in f16; `isOperator` says whether a node needs no decomposition. */
export function inHalf(graph: Graph, isOperator: (node: Node) => boolean): Graph {
  const half = chooseHalf(graph, isOperator);
  const made = new Map<Node, Node>();
  for (const node of nodesOf(graph)) made.set(node, rebuild(node, half.has(node), made));
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: ops.cast(made.get(node)!, node.type.dtype) }));
  const kept = graph.inputs.map((n) => made.get(n) ?? n);
  return makeGraph(graph.name, outputs, kept, graph.updates);
}

function chooseHalf(graph: Graph, isOperator: (node: Node) => boolean): Set<Node> {
  const nodes = nodesOf(graph);
  const updated = new Set(Object.values(graph.updates));
  const [half, learned] = [new Set<Node>(), learnedNodes(nodes)];
  for (const node of nodes) {
    if (node.type.dtype !== "f32") continue;
    if (isParameter(node) ? !updated.has(inputName(node)) : computedInHalf(node)) half.add(node);
  }
  const users = usersOf(nodes);
  // What only f32 ops use gains nothing from f16 and may overflow, as a square before its sum or a variance would.
  for (const node of [...nodes].reverse()) {
    const by = users.get(node)!;
    const optional = follows(node) || isParameter(node);
    if (optional && by.length > 0 && by.every((u) => u.type.dtype === "f32" && !half.has(u))) half.delete(node);
  }
  return half;

  /** What its record says of it, given its operands. A composite without an operator is what its parts are. */
  function computedInHalf(node: Node): boolean {
    if (opRecord(node.op).kind === "composite" && !coreOf(node) && !isOperator(node)) return false;
    const alike = node.operands.every((o) => half.has(o) || isNeutral(o));
    switch (policyOf(node)) {
      case "safe":
        return true;
      case "as_operands":
        return alike;
      case "as_operands_but_streams":
        return alike && node.operands.some((o) => learned.has(o));
      case "as_normalized":
        return half.has(node.operands[0]!);
      default:
        return false;
    }
  }
}

/** What no input of a run has a part in: parameters, constants and what is made of them. */
function learnedNodes(nodes: readonly Node[]): Set<Node> {
  const learned = new Set<Node>();
  for (const node of nodes) {
    const given = isGraphInput(node) && !isParameter(node);
    if (!given && node.operands.every((o) => learned.has(o))) learned.add(node);
  }
  return learned;
}

/** 0 or 1, made from a truth value. */
const isFlag = (node: Node): boolean => node.operands.length === 1 && node.operands[0]!.type.dtype === "bool";

/** True for values that either precision takes as they are: no floats, flags, and constants that f16 can hold. */
function isNeutral(node: Node): boolean {
  if (node.type.dtype !== "f32") return true;
  if (isFlag(node)) return true;
  if (!isConstant(node)) return false;
  const values = (node.attrs.values as readonly number[] | undefined) ?? [node.attrs.value as number];
  return values.every((v) => v === 0 || (Math.abs(v) <= range.largest && Math.abs(v) >= range.smallest));
}

function rebuild(node: Node, half: boolean, made: ReadonlyMap<Node, Node>): Node {
  if (half && isParameter(node)) return retyped(node, []);
  const operands = node.operands.map((o) => {
    const operand = made.get(o)!;
    return o.type.dtype === "f32" ? inPrecision(operand, half ? "f16" : "f32") : operand;
  });
  return node.operands.length === 0 ? node : retyped(node, operands);
}

/** The value as f16 or f32; constants and flags are made so, not converted. */
function inPrecision(node: Node, to: "f16" | "f32"): Node {
  if (node.type.dtype === to) return node;
  if (isConstant(node)) return retyped(node, [], to);
  return ops.cast(isFlag(node) ? node.operands[0]! : node, to);
}

/** The node on other operands, or with another dtype where it states its own. */
function retyped(node: Node, operands: readonly Node[], dtype: "f16" | "f32" = "f16"): Node {
  const attrs = operands.length === 0 ? { ...node.attrs, dtype } : node.attrs;
  const type: TensorType = opRecord(node.op).infer(
    operands.map((o) => o.type),
    attrs,
  );
  return intern(node.op, operands, attrs, type, node.birth, node.path);
}
