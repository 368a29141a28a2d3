/** Fuses a graph: decides which nodes become one kernel, and proves that the plan can run. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import { joinRows } from "./join-rows.ts";
import { joinSums } from "./join-sums.ts";
import { type FusionLimits, materialize } from "./materialize.ts";
import { inRunnableOrder } from "./order-kernels.ts";
import { placeNodes } from "./place-nodes.ts";
import type { FusionPlan, MemoryPlan } from "./plan.ts";
import { verifyReads } from "./verify-reads.ts";

/** Decides which nodes become one kernel, and lists the kernels in an order in which they can run. */
export function fuseGraph(graph: Graph, limits: FusionLimits): FusionPlan {
  const nodes = nodesOf(graph);
  const placed = placeNodes(nodes);
  const outputs = graph.outputs.map((o) => o.node);
  const fusion = materialize(nodes, outputs, placed, limits);
  const { places } = placed;
  return { graph, places, ...joinRows(joinSums(inRunnableOrder(fusion), limits), places, limits) };
}

/** Throws InternalError where a kernel, in the order given, reads what no kernel before it has written. */
export function verifyPlan(plan: FusionPlan & { readonly plan?: MemoryPlan }, stage: string): void {
  const faults = verifyReads(plan, plan.plan);
  if (faults.length > 0) throw new InternalError(`after stage "${stage}": ${faults.join("; ")}`);
}
