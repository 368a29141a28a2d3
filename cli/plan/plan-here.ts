/** A job with its plan for the device that is here, for whoever runs it to compare. */
import type { TrainingJob } from "../../runtime/index.ts";
import { loadJob } from "../load.ts";
import { subjectOf } from "../training-subject.ts";
import { type ClusterPlan, planCluster } from "./cluster-plan.ts";
import { hardwareHere } from "./here.ts";

export interface PlannedJob {
  readonly job: TrainingJob;
  readonly device: string;
  readonly plan: ClusterPlan;
}

export async function planHere(source: string, set: readonly string[]): Promise<PlannedJob> {
  const { device } = await hardwareHere({ count: 1, device: "here" });
  const { job, config } = await loadJob(source, set);
  const built = await job.build(config);
  const plan = planCluster(subjectOf(job.name, built, []), {
    device,
    count: 1,
    batch: built.sizes.batch,
    efficiency: 1,
  });
  return { job: built, device: device.name, plan };
}
