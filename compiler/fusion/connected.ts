/** Groups stores with the same iteration space into kernels: those that share reads. */
import type { Node } from "../ir/node.ts";
import { isCore } from "./cores.ts";
import { bytesOf, isFree, type Store } from "./fused-kernel.ts";
import type { Placement } from "./groups.ts";
import { maxRecomputedOps } from "./reads.ts";

/** From this many bytes on, a result is worth its own kernel: a kernel with several keeps them all alive at once. */
const largeBytes = 2 ** 20;
/** For large results, shared reads smaller than this share of the result save too little to matter. */
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
 * What connects a value to others of its bucket: the values at the same place in the order that it depends on, so that
 * pieces never wait for one another, and the tensors that it is likely to read, except small ones beside a large
 * result.
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
