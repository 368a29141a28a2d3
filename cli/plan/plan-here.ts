/** A job's plan for this machine's device, for comparison with a run. */
import type { TrainingJob } from "../../runtime/index.ts";
import { loadJob } from "../load.ts";
import { subjectOf } from "../training-subject.ts";
import { type ClusterPlan, planCluster, withTimed } from "./cluster-plan.ts";
import { hardwareHere, withDeviceHere } from "./here.ts";
import { timedUpdate } from "./timed-step.ts";

export interface PlannedJob {
  readonly job: TrainingJob;
  readonly device: string;
  readonly plan: ClusterPlan;
  /** Seconds per update, from measured kernel times. */
  readonly timed: number;
}

export async function planHere(source: string, set: readonly string[]): Promise<PlannedJob> {
  const { device } = await hardwareHere({ count: 1, device: "here" });
  const { job, config } = await loadJob(source, set);
  const built = await job.build(config);
  const subject = subjectOf(job.name, built, []);
  const plan = planCluster(subject, {
    device,
    count: 1,
    batch: built.sizes.batch,
    efficiency: 1,
  });
  const timed = await withDeviceHere((gpu) => timedUpdate(gpu, subject, plan.batch.micro, {}));
  return { job: built, device: device.name, plan, timed: withTimed(plan, timed).time.update };
}
