/** States that a run updates in place by a range, such as a key/value cache: only the new range is written. */
import { type Graph, inputName, isGraphInput, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isState, overwritingOf, sourceOf } from "../ir/op.ts";

/**
 * The states of which a range may be overwritten in place. Nothing may read the state except the update itself, so no
 * later kernel can see the wrong value. The start of the range must be a run's input or a constant, not computed.
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
