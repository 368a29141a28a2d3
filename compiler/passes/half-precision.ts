/**
 * Mixed precision: computes an f32 graph in f16 where that is safe, in products, activations and data movement. Sums,
 * norm statistics, exponentials, losses, states and what feeds only those stay f32, as do the graph's inputs and
 * outputs. So does the residual stream, which grows with depth: in trained encoders it exceeds the range of f16 until
 * it is normalized. Each op's record (`half`) states its policy.
 */
import type { Pass } from "../driver/index.ts";
import { finiteRange } from "../ir/dtype.ts";
import { type Graph, inputName, isGraphInput, makeGraph, nodesOf, usersOf } from "../ir/graph.ts";
import { intern, type Node } from "../ir/node.ts";
import {
  indexMapOf,
  isConstant,
  isElementwise,
  isParameter,
  isReduction,
  isState,
  opRecord,
  roleOf,
  sourceOf,
} from "../ir/op.ts";
import type { TensorType } from "../ir/type.ts";
import { cast } from "../ops/index.ts";

/** The precisions in which graphs can be computed. */
export const precisions = ["f32", "f16"] as const;
export type Precision = (typeof precisions)[number];

/** Choices that depend on the target. */
export interface HalfOptions {
  /** Whether the target computes a composite as one op. For others, precision is chosen for the decomposed ops. */
  readonly isWhole: (composite: Node) => boolean;
  /**
   * "narrowed": parameters that are used as f16 are stored as f16, as in an exported file. "as_given": they keep the
   * store's dtype and are converted where they are used.
   */
  readonly parameters: "narrowed" | "as_given";
}

/** The pass; the identity at "f32". */
export const halfPrecision = (precision: Precision, options: HalfOptions): Pass => ({
  name: "half-precision",
  run: (graph) => (precision === "f16" ? inHalf(graph, options) : graph),
});

/** The graph with f16 for the ops whose records allow it. */
export function inHalf(graph: Graph, options: HalfOptions): Graph {
  const choice = new HalfChoice(graph, options);
  const made = new Map<Node, Node>();
  for (const node of nodesOf(graph)) made.set(node, rebuild(node, choice, made));
  const outputs = graph.outputs.map(({ name, node }) => ({ name, node: cast(made.get(node)!, node.type.dtype) }));
  const kept = graph.inputs.map((n) => made.get(n) ?? n);
  return makeGraph(graph.name, outputs, kept, graph.updates);
}

/** The values of an f32 graph that `inHalf` makes f16, or rounds to f16 once for all their users. */
export function halfValues(graph: Graph, options: HalfOptions): ReadonlySet<Node> {
  const choice = new HalfChoice(graph, options);
  return new Set(nodesOf(graph).filter((n) => choice.makesHalf(n) || choice.isRounded(n)));
}

const policyOf = (node: Node) => opRecord(node.op).half;

/** True for ops computed in the precision of their operands. */
const follows = (node: Node): boolean =>
  policyOf(node) === "as_operands" || policyOf(node) === "as_operands_but_streams";

/** The largest and (about) the smallest positive f16: constants beyond them need f32. */
const range = { largest: finiteRange.f16[1], smallest: 6e-8 } as const;

/** A view of a state, as trained parameters are of their arenas: it stays f32 and is converted where it is used. */
const isHeld = (node: Node): boolean =>
  indexMapOf(node) !== undefined && node.operands.length === 1 && isState(node.operands[0]!);

/** A value widened from f16, such as a parameter stored in f16. */
const isWidened = (node: Node): boolean =>
  isElementwise(node) && node.operands.length === 1 && node.operands[0]!.type.dtype === "f16";

class HalfChoice {
  /** Nodes available as f16: computed in f16, or converted at their uses. */
  private readonly half = new Set<Node>();
  /** Nodes that read f16 and give f32. */
  private readonly sums = new Set<Node>();
  /** f32 nodes read as f16 by some users and summed by the others: rounded once, so that all read the same values. */
  private readonly rounded = new Set<Node>();
  private readonly learned: ReadonlySet<Node>;
  private readonly updated: ReadonlySet<string>;
  private readonly options: HalfOptions;

  constructor(graph: Graph, options: HalfOptions) {
    this.options = options;
    this.updated = new Set(Object.values(graph.updates));
    const nodes = nodesOf(graph);
    this.learned = learnedNodes(nodes);
    for (const node of nodes) {
      if (node.type.dtype !== "f32") continue;
      if (this.isCastable(node) || this.computedInHalf(node)) this.half.add(node);
      else if (policyOf(node) === "operands" && this.isOne(node)) this.sums.add(node);
    }
    const users = usersOf(nodes);
    const handedOut = new Set(graph.outputs.map((o) => o.node));
    for (const node of [...nodes].reverse()) this.revise(node, users.get(node)!, handedOut.has(node));
  }

  /** True if the node itself becomes f16. */
  makesHalf(node: Node): boolean {
    if (!this.half.has(node) || isHeld(node)) return false;
    return isParameter(node) ? !this.keepsParameters : sourceOf(node) === undefined;
  }

  /** True if the node reads the operand as f16. */
  readsHalf(node: Node, position: number): boolean {
    const inHalf = this.sums.has(node) || (this.half.has(node) && !isHeld(node));
    return inHalf && !staysAsGiven(node, position);
  }

  isRounded(node: Node): boolean {
    return this.rounded.has(node);
  }

  private get keepsParameters(): boolean {
    return this.options.parameters === "as_given";
  }

  /** Values stored as f32 whose magnitude fits f16: learned ones and random numbers. */
  private isCastable(node: Node): boolean {
    if (isParameter(node)) return this.keepsParameters || !this.updated.has(inputName(node));
    return isHeld(node) || isWidened(node) || sourceOf(node) === "random";
  }

  /** False for a composite that the target decomposes: its parts are decided separately. */
  private isOne(node: Node): boolean {
    return opRecord(node.op).kind !== "composite" || this.options.isWhole(node);
  }

  /** Whether the record's policy allows f16, given the operands. */
  private computedInHalf(node: Node): boolean {
    if (!this.isOne(node)) return false;
    const alike = () => node.operands.every((o) => this.half.has(o) || isNeutral(o));
    switch (policyOf(node)) {
      case "safe":
        return true;
      case "as_operands":
        return alike();
      case "as_operands_but_streams":
        return alike() && node.operands.some((o) => this.learned.has(o));
      case "as_normalized":
        return this.half.has(node.operands[0]!);
      default:
        return false;
    }
  }

  /** Revises the decision for a node once all its users are decided. */
  private revise(node: Node, users: readonly Node[], handedOut: boolean): void {
    if (node.type.dtype !== "f32" || users.length === 0) return;
    const reading = users.map((u) => u.operands.some((o, i) => o === node && this.readsHalf(u, i)));
    if (this.half.has(node)) {
      // A value used only by f32 ops gains nothing from f16 and may overflow, such as a square before its sum.
      const optional = follows(node) || this.isCastable(node);
      const wide = users.every((u, i) => !reading[i] && (u.type.dtype === "f32" || isStatisticOf(node, u)));
      if (optional && wide) this.half.delete(node);
    } else if (!handedOut && indexMapOf(node) && reading.every(Boolean)) {
      this.half.add(node); // convert before moving: half the bytes, and once per element even if a window repeats it
    } else if (!handedOut && reading.some(Boolean) && users.every((u, i) => reading[i] || isReduction(u))) {
      this.rounded.add(node); // such as the cotangent of a product with a bias
    }
  }
}

/** Statistics are always f32. A bias of logits keeps its dtype: it may be below the range of f16. */
const staysAsGiven = (node: Node, position: number): boolean =>
  roleOf(node, position) === "statistic" || roleOf(node, position) === "bias";

/** Whether a node uses an operand only in positions that keep their dtype. */
const isStatisticOf = (operand: Node, node: Node): boolean =>
  node.operands.every((o, i) => o !== operand || staysAsGiven(node, i));

/** Nodes that depend on no run-time input: parameters, constants and what is computed from them. */
function learnedNodes(nodes: readonly Node[]): Set<Node> {
  const learned = new Set<Node>();
  for (const node of nodes) {
    const given = isGraphInput(node) && !isParameter(node);
    if (isHeld(node) || (!given && node.operands.every((o) => learned.has(o)))) learned.add(node);
  }
  return learned;
}

/** A 0 or 1 converted from a bool. */
const isFlag = (node: Node): boolean => node.operands.length === 1 && node.operands[0]!.type.dtype === "bool";

/** True for values that suit either precision: those that are not f32, flags, and constants that fit f16. */
function isNeutral(node: Node): boolean {
  if (node.type.dtype !== "f32") return true;
  if (isFlag(node)) return true;
  if (!isConstant(node)) return false;
  const values = (node.attrs.values as readonly number[] | undefined) ?? [node.attrs.value as number];
  return values.every((v) => v === 0 || (Math.abs(v) <= range.largest && Math.abs(v) >= range.smallest));
}

function rebuild(node: Node, choice: HalfChoice, made: ReadonlyMap<Node, Node>): Node {
  const half = choice.makesHalf(node);
  if (half && isWidened(node)) return made.get(node.operands[0]!)!;
  if (node.operands.length === 0) return half && isParameter(node) ? retyped(node, []) : node;
  const operands = node.operands.map((o, i) => {
    const operand = made.get(o)!;
    if (o.type.dtype !== "f32") return operand;
    if (choice.readsHalf(node, i)) return inPrecision(operand, "f16");
    return inPrecision(choice.isRounded(o) ? inPrecision(operand, "f16") : operand, "f32");
  });
  return retyped(node, operands);
}

/** The value as f16 or f32; constants and flags are rebuilt in that dtype instead of cast. */
function inPrecision(node: Node, to: Precision): Node {
  if (node.type.dtype === to) return node;
  if (isConstant(node)) return retyped(node, [], to);
  return cast(isFlag(node) ? node.operands[0]! : node, to);
}

/** The node on other operands or, for a source, with another dtype. */
function retyped(node: Node, operands: readonly Node[], dtype: Precision = "f16"): Node {
  const attrs = operands.length === 0 ? { ...node.attrs, dtype } : node.attrs;
  const type: TensorType = opRecord(node.op).infer(
    operands.map((o) => o.type),
    attrs,
  );
  return intern(node.op, operands, attrs, type, node.birth, node.path);
}
