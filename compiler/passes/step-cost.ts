/** Operation counts of a training step: forward, backward and parameter update. */
import type { Sizes } from "../ir/dim.ts";
import { type Graph, nodesOf, topological } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isArena } from "./arena.ts";
import { costOf, type NodeCost } from "./cost.ts";

export type Operations = Pick<NodeCost, "macs" | "flops">;

export interface StepOperations {
  /** What the loss needs. */
  readonly forward: Operations;
  /** What the gradients need in addition. */
  readonly backward: Operations;
  /** Work on whole arenas: norms, sums, the update rule. */
  readonly update: Operations;
}

/** Whether a node yields an arena or a scalar computed from one; false for views of parameters. */
const isOfArena = ({ type, operands }: Node): boolean =>
  isArena(type) || (type.axes.length === 0 && operands.some((o) => isArena(o.type)));

/** Operation counts, at given sizes, of a graph that computes an output `loss` and its gradients. */
export function countStepOperations(graph: Graph, sizes: Sizes = {}): StepOperations {
  const goal = graph.outputs.find(({ name }) => name === "loss")?.node;
  const forward = new Set(goal ? topological([goal]) : []);
  const parts = { forward: none(), backward: none(), update: none() };
  for (const node of nodesOf(graph)) {
    const part = !goal || isOfArena(node) ? "update" : forward.has(node) ? "forward" : "backward";
    const { macs, flops } = costOf(node, sizes);
    parts[part].macs += macs;
    parts[part].flops += flops;
  }
  return parts;
}

const none = () => ({ macs: 0, flops: 0 });
