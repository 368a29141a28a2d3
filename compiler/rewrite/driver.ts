/** The rewrite driver: applies rules bottom-up, to each node until it reaches a fixed point. */
import { InternalError } from "../diagnostics/error.ts";
import { withBirth } from "../diagnostics/source-location.ts";
import { type Graph, rewriteGraph, withOperands } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { printType, sameType } from "../ir/type.ts";
import { isRefusal, type Refusal, type Rule, refuse, sameUpToOrder } from "./rule.ts";

/** A rule's outcome at one node: its replacement, or why it refused. */
export interface RuleEvent {
  readonly rule: string;
  readonly node: Node;
  readonly result: Node | undefined;
  /** The guard's reason. */
  readonly refused: string | undefined;
}

export type RuleObserver = (event: RuleEvent) => void;

/** A pass made of rewrite rules. */
export interface RewritePass {
  readonly name: string;
  readonly rules: readonly Rule[];
  readonly run: (graph: Graph, observe?: RuleObserver) => Graph;
}

/** The most rewrites at one node; beyond that, two rules must be undoing each other. */
const mostSteps = 200;

/** Makes a pass of rules; its `run` returns the same graph object when no rule applies. */
export function rewritePass(name: string, rules: readonly Rule[]): RewritePass {
  const byOp = new Map<string, readonly Rule[]>();
  const rulesFor = ({ op }: Node): readonly Rule[] => {
    let found = byOp.get(op);
    if (!found) {
      const { kind } = opRecord(op);
      found = rules.filter((r) => (r.op ?? op) === op && (r.kind ?? kind) === kind);
      byOp.set(op, found);
    }
    return found;
  };
  return { name, rules, run: (graph, observe) => runRules(name, graph, rulesFor, observe ?? (() => {})) };
}

function runRules(pass: string, graph: Graph, rulesFor: (node: Node) => readonly Rule[], observe: RuleObserver): Graph {
  const settled = new Map<Node, Node>();
  const result = rewriteGraph(graph, (node) => settle(node));
  const same = result.outputs.every((o, i) => o.node === graph.outputs[i]!.node);
  return same && result.inputs.length === graph.inputs.length ? graph : result;

  function settle(start: Node): Node {
    const known = settled.get(start);
    if (known) return known;
    let node = start;
    for (let steps = 0; settled.get(node) !== node; steps++) {
      const next = step(node);
      if (!next) break;
      if (steps > mostSteps) throw new InternalError(`pass "${pass}", rule "${next.rule}": rules undo each other`);
      node = settleNew(next.node);
    }
    settled.set(start, node);
    settled.set(node, node);
    return node;
  }

  /** The first rule that replaces the node. */
  function step(node: Node): { rule: string; node: Node } | undefined {
    for (const rule of rulesFor(node)) {
      const result = typed(
        rule,
        node,
        withBirth(node.birth, () => rule.apply(node)),
      );
      if (result === undefined || result === node) continue;
      if (!isRefusal(result)) {
        observe({ rule: rule.name, node, result, refused: undefined });
        return { rule: rule.name, node: result };
      }
      observe({ rule: rule.name, node, result: undefined, refused: result.refused });
    }
    return undefined;
  }

  /** A replacement must have the type of the node it replaces; one that differs only in axis order is refused. */
  function typed(rule: Rule, node: Node, result: Node | Refusal | undefined): Node | Refusal | undefined {
    if (result === undefined || isRefusal(result) || sameType(result.type, node.type)) return result;
    if (sameUpToOrder(result.type, node.type)) return refuse("the axes would come in another order");
    const types = `${printType(result.type)} of ${printType(node.type)}`;
    throw new InternalError(`pass "${pass}", rule "${rule.name}": makes ${types}`);
  }

  /** A replacement may contain other new nodes below its root: they are settled first. */
  function settleNew(root: Node): Node {
    const map = new Map<Node, Node>();
    for (const node of topologicalUntil(root, (n) => settled.get(n) === n)) {
      const operands = node.operands.map((o) => map.get(o) ?? o);
      const rebuilt = operands.every((o, i) => o === node.operands[i]) ? node : withOperands(node, operands);
      map.set(node, node === root ? rebuilt : settle(rebuilt));
    }
    return map.get(root) ?? root;
  }
}

/** `root` and the nodes below it, operands first, skipping those for which `stop` holds. */
function topologicalUntil(root: Node, stop: (node: Node) => boolean): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const visit = (node: Node) => {
    if (seen.has(node) || stop(node)) return;
    seen.add(node);
    node.operands.forEach(visit);
    order.push(node);
  };
  visit(root);
  return order;
}
