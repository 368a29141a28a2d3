/** What each kernel of a program computes, for whoever shows it. */
import type { StageReport } from "../driver/index.ts";
import { computedNodes } from "../fusion/index.ts";
import type { Node } from "../ir/node.ts";
import type { ScheduledPlan } from "../lowering/index.ts";
import { scheduleForm } from "./webgpu.ts";

/**
 * By the number of a program's kernel, the nodes that it computes, operands before users: read from the reports of the
 * compile that made it. Empty where the compile went no further than the graph.
 */
export function fusedNodes(reports: readonly StageReport[]): readonly (readonly Node[])[] {
  const scheduled = reports.findLast(({ to }) => to === scheduleForm)?.after as ScheduledPlan | undefined;
  return (scheduled?.shaped ?? []).map(({ fused }) => computedNodes(fused));
}
