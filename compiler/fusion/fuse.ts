/** Fuses a graph: decides which nodes become one kernel, and verifies that the plan can run. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { kindOf } from "./cores.ts";
import { fuseNormsIntoProducts } from "./fuse-norms-into-products.ts";
import { fuseRowEpilogues } from "./fuse-row-epilogues.ts";
import { fuseSiblingSums } from "./fuse-sibling-sums.ts";
import { type FusionLimits, materialize, type RowParts } from "./materialize.ts";
import { inRunnableOrder } from "./order-kernels.ts";
import { placeNodes } from "./place-nodes.ts";
import type { FusionPlan, MemoryPlan } from "./plan.ts";
import { selectNorms } from "./select-norms.ts";
import { splitNormSums } from "./split-norm-sums.ts";
import { verifyReads } from "./verify-reads.ts";

/** Partitions a graph into kernels, listed in an order in which they can run. */
export function fuseGraph(graph: Graph, limits: FusionLimits): FusionPlan {
  const { plan } = fuseOnce(graph, limits);
  return limits.rowParts ? withNormsInProducts(plan, limits, limits.rowParts) : plan;
}

function fuseOnce(graph: Graph, limits: FusionLimits) {
  const nodes = nodesOf(graph);
  const placed = placeNodes(nodes);
  const outputs = graph.outputs.map((o) => o.node);
  const { places } = placed;
  const fused = fuseSiblingSums(inRunnableOrder(materialize(nodes, outputs, placed, limits)), limits);
  const { fusion, refused } = fuseNormsIntoProducts(fused, places, limits, new Set(outputs));
  const plan: FusionPlan = { graph, places, ...fuseRowEpilogues(fusion, places, limits) };
  return { plan, refused };
}

/** Fuses norms into the products around them where that pays, and retries without those that could not be fused. */
function withNormsInProducts(plan: FusionPlan, limits: FusionLimits, rowParts: RowParts): FusionPlan {
  const refused = new Map<Node, string>();
  for (;;) {
    const { parted, misses } = selectNorms(plan, plan.places, rowParts, refused);
    const left = plan.misses.filter((m) => !misses.some(({ node }) => node === m.node));
    if (parted.size === 0) return { ...plan, misses: [...left, ...misses] };
    const { graph, became } = splitNormSums(plan.graph, parted);
    const successors = new Map([...limits.successors].map(([node, state]) => [became.get(node)!, became.get(state)!]));
    const next = fuseOnce(graph, { ...limits, successors });
    const failed = [...parted.keys()].flatMap((core) => {
      const reason = whyNotFused(became.get(core)!, next);
      return reason === undefined ? [] : [[core, reason] as const];
    });
    if (failed.length === 0) {
      const moved = misses.map(({ node, reason }) => ({ node: became.get(node)!, reason }));
      const others = next.plan.misses.filter((m) => !moved.some(({ node }) => node === m.node));
      return { ...next.plan, misses: [...others, ...moved] };
    }
    for (const [core, reason] of failed) refused.set(core, reason);
  }
}

/** Why a sum that was split into parts still has a kernel of its own; undefined if it has none. */
function whyNotFused(sum: Node, { plan, refused }: ReturnType<typeof fuseOnce>): string | undefined {
  const alone = plan.kernels.some((k) => k.kind === "row_reduction" && k.group!.cores.includes(sum));
  if (!alone) return undefined;
  const seen = new Set<Node>();
  const find = (n: Node): string | undefined => {
    if (seen.has(n) || kindOf(n) === "contraction") return undefined;
    seen.add(n);
    return refused.get(n) ?? n.operands.map(find).find((r) => r !== undefined);
  };
  return find(sum) ?? "its partial reductions do not line up with the tiles of a product";
}

/** Throws InternalError if a kernel reads what no earlier kernel has written, or what has been overwritten. */
export function verifyPlan(plan: FusionPlan & { readonly plan?: MemoryPlan }, stage: string): void {
  const faults = verifyReads(plan, plan.plan);
  if (faults.length > 0) throw new InternalError(`after stage "${stage}": ${faults.join("; ")}`);
}
