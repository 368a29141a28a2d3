/** States whose successors are stored over them range by range: what a run adds is written, and nothing else. */
import { type Graph, inputName, isGraphInput, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isState, overwritingOf, sourceOf } from "../ir/op.ts";

/**
 * The states of which a range may be stored in place: nothing reads a state but the successor that is the state but for
 * that range, so no kernel can come too late. The range begins where the run is told, not where a kernel says.
 */
export function overwritableStates(graph: Graph): ReadonlySet<Node> {
  const users = new Map<Node, Set<Node>>();
  for (const node of nodesOf(graph))
    for (const o of node.operands) if (isState(o)) users.set(o, (users.get(o) ?? new Set()).add(node));
  const handedOut = Map.groupBy(graph.outputs, (o) => o.node);
  const found = [...users].filter(([state, by]) => {
    const [node] = by;
    const over = overwritingOf(node!);
    if (by.size > 1 || over?.kept !== state || over.range === state || handedOut.has(state)) return false;
    const outputs = handedOut.get(node!) ?? [];
    const isTold = isGraphInput(over.start) ? !isState(over.start) : sourceOf(over.start) === "constant";
    return isTold && outputs.length === 1 && graph.updates[outputs[0]!.name] === inputName(state);
  });
  return new Set(found.map(([state]) => state));
}
