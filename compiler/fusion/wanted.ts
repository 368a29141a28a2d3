/** The values that some kernel will read from memory in any case, whatever else is decided. */
import type { Node } from "../ir/node.ts";
import { indexMapOf, isAffine, isConcatenation, isDecoded, isElementwise, isPerPlace, operandsAs } from "../ir/op.ts";
import { cast, is, mul } from "../ops/index.ts";
import { readsInLoop } from "./cores.ts";
import { bytesOf, isFree } from "./fused-kernel.ts";
import type { Placement } from "./groups.ts";
import { usersOf } from "./place-nodes.ts";

export interface Wanted {
  /** The last values of chains. */
  readonly ends: ReadonlySet<Node>;
  /** Elementwise values and concatenations that contractions and attention read, and ends that another kernel reads. */
  readonly stored: ReadonlySet<Node>;
}

export function wantedOf(nodes: readonly Node[], places: Placement): Wanted {
  const users = usersOf(nodes);
  const ends = chainEnds(nodes, places, users);
  return { ends: new Set(ends.keys()), stored: wantedInMemory(nodes, places, users, ends) };
}

type Users = ReturnType<typeof usersOf>;

/** The last values of chains, keyed by the value to store: a widening conversion is left to its readers. */
function chainEnds(nodes: readonly Node[], places: Placement, users: Users): Map<Node, Node> {
  const goesOn = (node: Node): boolean => {
    const [user, ...others] = users.get(node)!.map((u) => places.get(u)!);
    return others.length === 0 && user?.chain === true && user.group === places.get(node)!.group;
  };
  const stored = (node: Node): Node => (is(cast, node) && isWidening(node) ? stored(node.operands[0]!) : node);
  return new Map(nodes.filter((n) => places.get(n)!.chain && !goesOn(n)).map((end) => [stored(end), end]));
}

const isWidening = (conversion: Node): boolean => bytesOf(conversion) > bytesOf(conversion.operands[0]!);

function wantedInMemory(
  nodes: readonly Node[],
  places: Placement,
  users: Users,
  ends: ReadonlyMap<Node, Node>,
): Set<Node> {
  const wanted = new Set<Node>();
  const note = (node: Node): void => {
    if (narrowsComputed(node)) wanted.add(node);
    else if (isNearlyLoad(node)) node.operands.forEach(note);
    else if (isConcatenation(node) || isElementwise(node)) wanted.add(node);
  };
  for (const node of nodes.filter(readsInLoop)) node.operands.filter((_, i) => !isPerPlace(node, i)).forEach(note);
  for (const [stored, end] of ends)
    if (users.get(end)!.some((u) => places.get(u)!.group !== places.get(end)!.group)) wanted.add(stored);
  return wanted;
}

/** A movement op that reads its operand or a constant outside of it: costs a comparison on top of the load. */
const isPadding = (n: Node): boolean => n.operands.length === 1 && indexMapOf(n)?.outside !== undefined;

/** A multiplication by a scalar constant. */
const isScaling = (n: Node): boolean => is(mul, n) && n.operands.some((o) => isFree(o) && o.type.axes.length === 0);

/** Near-loads: ops that are cheap enough for an innermost loop to compute for each element that it loads. */
export const isNearlyLoad = (n: Node): boolean =>
  isAffine(n) || isPadding(n) || is(cast, n) || isScaling(n) || isDecoded(n);

/** A conversion to fewer bytes. */
export const isNarrowing = (node: Node): boolean =>
  isElementwise(node) && node.operands.length === 1 && bytesOf(node) < bytesOf(node.operands[0]!);

/** Whether a conversion to fewer bytes is stored instead of its operand, which some kernel computes. */
export const narrowsComputed = (node: Node): boolean => {
  const [x] = node.operands;
  return isNarrowing(node) && !isNearlyLoad(x!) && operandsAs(x!, "table").length === 0 && !isFree(x!);
};
