/** The fusion plan: which nodes are computed in which kernel, what each kernel reads and writes, and where that lies. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import { decideMemory, type Fusion, type FusionLimits } from "./demand.ts";
import { type Placement, placeNodes } from "./groups.ts";
import { inRunnableOrder } from "./order-kernels.ts";
import type { MemoryPlan } from "./plan-memory.ts";
import { verifyReads } from "./verify-reads.ts";

/** A graph with the kernels that compute it. */
export interface FusionPlan extends Fusion {
  readonly graph: Graph;
  readonly places: Placement;
}

/** A fusion plan whose kernels stand in the order in which they run, with the memory that they run in. */
export interface PlannedMemory extends FusionPlan {
  readonly plan: MemoryPlan;
}

/** Decides which nodes become one kernel, and lists the kernels in an order in which they can run. */
export function fuseGraph(graph: Graph, limits: FusionLimits): FusionPlan {
  const nodes = nodesOf(graph);
  const placed = placeNodes(nodes);
  const outputs = graph.outputs.map((o) => o.node);
  const fusion = decideMemory(nodes, outputs, placed, limits);
  return { graph, places: placed.places, ...inRunnableOrder(fusion) };
}

/** Throws InternalError where a kernel, in the order given, reads what no kernel before it has written. */
export function verifyPlan(plan: FusionPlan & { readonly plan?: MemoryPlan }, stage: string): void {
  const faults = verifyReads(plan, plan.plan);
  if (faults.length > 0) throw new InternalError(`after stage "${stage}": ${faults.join("; ")}`);
}
