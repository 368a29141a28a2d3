/** Which stores of one iteration space become one kernel: those that share what they read. */
import type { Node } from "../ir/node.ts";
import { isCore } from "./cores.ts";
import { bytesOf, isFree, type Store } from "./fused-kernel.ts";
import type { Placement } from "./groups.ts";
import { maxRecomputedOps } from "./reads.ts";

/** Results of so many bytes are worth a kernel of their own: one for several has them all in memory at once. */
const largeBytes = 2 ** 20;
/** Of large results, what is shared and smaller by so much saves nothing to speak of. */
const smallShare = 1 / 64;

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
 * that pieces never wait for one another, and the tensors that it is likely to read, but for a row beside a large table.
 */
function touchedBy(node: Node, places: Placement, isResident: Resident): Set<Node> {
  const { ready } = places.get(node)!;
  const own = bytesOf(node);
  const isSmallBeside = (n: Node) => own >= largeBytes && bytesOf(n) < smallShare * own;
  const found = new Set<Node>();
  const seen = new Set<Node>();
  const stack = [node];
  let budget = maxRecomputedOps;
  while (stack.length > 0) {
    const n = stack.pop()!;
    if (seen.has(n) || isFree(n)) continue;
    const place = places.get(n)!;
    const beside = !place.group && place.ready === ready && !isResident(n);
    if (!beside && (n.type.axes.length === 0 || --budget < 0)) continue;
    seen.add(n);
    if (!isSmallBeside(n)) found.add(n);
    if (beside || !(isResident(n) || isCore(n))) stack.push(...n.operands);
  }
  return found;
}
