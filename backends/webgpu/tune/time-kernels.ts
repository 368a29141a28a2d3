/** Times the kernels of a program on a device, each shape separately on tensors of the real sizes. */
import {
  HeddleError,
  type Program,
  type ProgramKernel,
  type Sizes,
  type Stmt,
  variantFor,
} from "../../../compiler/index.ts";
import { DeviceLostError, type GpuDevice } from "../runtime/device.ts";
import { Comparison } from "./compare.ts";
import { scoped } from "./error-scope.ts";
import { Samples } from "./samples.ts";
import { timerOf } from "./timer.ts";
import { type Tools, Trial } from "./trial.ts";

/** Nanoseconds, or why the kernel could not be timed. */
export type KernelTiming = number | string;

const measured = 2e6;
const mostRepetitions = 200;
const rounds = 5;

/** The time of each kernel shape, keyed by the statement list that kernels of one shape share. */
export async function timeKernels(
  gpu: GpuDevice,
  { symbols }: Program,
  kernels: readonly ProgramKernel[],
  sizes: Sizes,
): Promise<ReadonlyMap<readonly Stmt[], KernelTiming>> {
  const tools: Tools = { gpu, samples: new Samples(gpu), comparison: new Comparison(gpu), timer: timerOf(gpu) };
  const times = new Map<readonly Stmt[], KernelTiming>();
  try {
    for (const kernel of kernels)
      if (!times.has(kernel.kernel.body)) times.set(kernel.kernel.body, await timing(tools, kernel, symbols, sizes));
  } finally {
    tools.samples.dispose();
  }
  return times;
}

async function timing(
  tools: Tools,
  kernel: ProgramKernel,
  symbols: readonly string[],
  sizes: Sizes,
): Promise<KernelTiming> {
  const variant = variantFor(kernel, sizes);
  let trial: Trial | undefined;
  try {
    trial = await scoped(tools.gpu, async () => new Trial(tools, [variant], symbols, sizes));
    const ready = await trial.ready(variant);
    let best = await trial.time(ready, 1);
    for (let i = 0; i < rounds; i++)
      best = Math.min(
        best,
        await trial.time(ready, Math.max(1, Math.min(mostRepetitions, Math.round(measured / best)))),
      );
    return best;
  } catch (error) {
    if (error instanceof DeviceLostError || !(error instanceof HeddleError)) throw error;
    return error.message.split("\n")[0]!;
  } finally {
    trial?.dispose();
  }
}
