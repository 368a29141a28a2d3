/** Which stores of one iteration space become one kernel: those that share what they read. */
import type { Node } from "../ir/node.ts";
import { isFree, type Store } from "./fused-kernel.ts";
import { isCore, type Placement } from "./groups.ts";
import { maxRecomputedOps } from "./reads.ts";

type Resident = (node: Node) => boolean;

export function connected(stores: readonly Store[], places: Placement, isResident: Resident): Store[][] {
  const pieces: { stores: Store[]; touched: Set<Node> }[] = [];
  for (const store of stores) {
    const touched = touchedBy(store.value, places, isResident);
    const joined = pieces.filter((p) => [...touched].some((n) => p.touched.has(n)));
    const merged = { stores: [...joined.flatMap((p) => p.stores), store], touched };
    for (const p of joined) {
      for (const n of p.touched) touched.add(n);
      pieces.splice(pieces.indexOf(p), 1);
    }
    pieces.push(merged);
  }
  return pieces.map((p) => p.stores);
}

/**
 * What connects a value with others of its bucket: every value at the same place in the order that it comes from, so
 * that pieces never wait for one another, and the tensors that it is likely to read.
 */
function touchedBy(node: Node, places: Placement, isResident: Resident): Set<Node> {
  const { ready } = places.get(node)!;
  const found = new Set<Node>();
  const stack = [node];
  let budget = maxRecomputedOps;
  while (stack.length > 0) {
    const n = stack.pop()!;
    if (found.has(n) || isFree(n)) continue;
    const place = places.get(n)!;
    const beside = !place.group && place.ready === ready && !isResident(n);
    if (!beside && (n.type.axes.length === 0 || --budget < 0)) continue;
    found.add(n);
    if (beside || !(isResident(n) || isCore(n))) stack.push(...n.operands);
  }
  return found;
}
