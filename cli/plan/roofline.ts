/** Roofline estimates: each kernel by its bound, one after another. docs/plan.md. */
import type { PlannedKernel, PlannedProgram } from "../../compiler/index.ts";
import type { KnownCeilings } from "../kernel-rates.ts";

/** The peak rates of a roofline. */
export type Peaks = Pick<KnownCeilings, "matrices"> & Required<Pick<KnownCeilings, "copy" | "f32" | "dispatch">>;

/** Seconds of kernels by their bound, and of all launches. */
export interface RooflineTime {
  readonly seconds: number;
  /** Of compute-bound kernels. */
  readonly byOperations: number;
  /** Of memory-bound kernels, and of copies. */
  readonly byBytes: number;
  readonly launches: number;
}

/** The peak rate of a kernel: that of matrix units if its schedule uses them, else f32's. */
const rateOf = ({ onMatrices }: PlannedKernel, peaks: Peaks): number =>
  onMatrices ? (peaks.matrices ?? peaks.f32) : peaks.f32;

/** max(operations / rate, bytes / bandwidth) per kernel, plus a launch each. */
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
