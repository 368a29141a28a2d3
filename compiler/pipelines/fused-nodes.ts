/** The graph nodes that each kernel of a program computes, for display. */
import type { StageReport } from "../driver/index.ts";
import { computedNodes } from "../fusion/index.ts";
import type { Node } from "../ir/node.ts";
import type { ScheduledPlan } from "../lowering/index.ts";
import { scheduleForm } from "./webgpu.ts";

/**
 * For each kernel of a program, by index, the nodes that it computes, operands before users; taken from the stage
 * reports of its compile. Empty if no kernels were scheduled.
 */
export function fusedNodes(reports: readonly StageReport[]): readonly (readonly Node[])[] {
  const scheduled = reports.findLast(({ to }) => to === scheduleForm)?.after as ScheduledPlan | undefined;
  return (scheduled?.shaped ?? []).map(({ fused }) => computedNodes(fused));
}
