/** Expected times from what a device can do at most: each kernel by what bounds it, one after another. docs/plan.md. */
import type { PlannedKernel, PlannedProgram } from "../../compiler/index.ts";
import type { KnownCeilings } from "../kernel-rates.ts";

/** What a roofline is made of. */
export type Peaks = Pick<KnownCeilings, "matrices"> & Required<Pick<KnownCeilings, "copy" | "f32" | "dispatch">>;

/** Seconds of kernels, by what bounds them, and of the launches of all. */
export interface RooflineTime {
  readonly seconds: number;
  /** Of kernels that their operations bound. */
  readonly byOperations: number;
  /** Of kernels, and copies, that their bytes bound. */
  readonly byBytes: number;
  readonly launches: number;
}

/** The rate at which a kernel multiplies: that of matrix units where its schedule uses them, else that of f32. */
const rateOf = ({ onMatrices }: PlannedKernel, peaks: Peaks): number =>
  onMatrices ? (peaks.matrices ?? peaks.f32) : peaks.f32;

/** max(operations / rate, bytes / bandwidth) of each kernel, and a launch for each. */
export function rooflineTime(
  { kernels, copied }: Pick<PlannedProgram, "kernels" | "copied">,
  peaks: Peaks,
): RooflineTime {
  let [byOperations, byBytes] = [0, (2 * copied) / peaks.copy]; // a copy reads and writes
  for (const kernel of kernels) {
    const computing = kernel.flops / rateOf(kernel, peaks);
    const moving = (kernel.bytesRead + kernel.bytesWritten) / peaks.copy;
    if (computing > moving) byOperations += computing;
    else byBytes += moving;
  }
  const launches = kernels.length * peaks.dispatch;
  return { seconds: byOperations + byBytes + launches, byOperations, byBytes, launches };
}

export const sumOfTimes = (times: readonly RooflineTime[]): RooflineTime => ({
  seconds: times.reduce((n, t) => n + t.seconds, 0),
  byOperations: times.reduce((n, t) => n + t.byOperations, 0),
  byBytes: times.reduce((n, t) => n + t.byBytes, 0),
  launches: times.reduce((n, t) => n + t.launches, 0),
});
