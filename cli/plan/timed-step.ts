/** Measured kernel times of a step on this machine's device: each shape runs alone, on tensors of the real sizes. */
import { factsOf, timeKernels, type WebgpuBackend } from "../../backends/webgpu/index.ts";
import { bindSizes, compileKernels, type KernelOptions, planKernels, UnsupportedError } from "../../compiler/index.ts";
import { ofEachGraph } from "../stage-figures.ts";
import { samples, type TrainingSubject } from "../training-subject.ts";

/** Seconds of kernels. */
export interface TimedUpdate {
  /** Of one micro-batch, without the work done once per update. */
  readonly microBatch: number;
  /** Of the work done once. */
  readonly update: number;
}

type Gpu = WebgpuBackend["gpu"];

/**
 * Times the kernels of a step of this batch, as a run with these options compiles them. `memory` is a budget in bytes.
 * Throws UnsupportedError naming a kernel that could not be timed.
 */
export async function timedUpdate(
  gpu: Gpu,
  { step, sizes }: TrainingSubject,
  batch: number,
  { memory, ...tuned }: KernelOptions,
): Promise<TimedUpdate> {
  const bound = { ...sizes, [samples]: batch };
  const facts = factsOf(gpu);
  const graphs = ofEachGraph<Compiled>(step, (graph, precision, made) => {
    const options = { ...tuned, precision, memory, beside: made.map((m) => m.planned.bound) };
    const at = bindSizes(graph, bound);
    return { planned: planKernels(at, facts, options), program: compileKernels(at, facts, options) };
  });
  const timed = async (compiled: Compiled | undefined, isWanted = (_: boolean) => true): Promise<number> => {
    if (!compiled) return 0;
    const { planned, program } = compiled;
    const kernels = program.kernels.filter((_, i) => isWanted(planned.kernels[i]!.updates));
    const times = await timeKernels(gpu, program, kernels, {});
    const nanoseconds = kernels.reduce((sum, { name, kernel }) => {
      const time = times.get(kernel.body)!;
      if (typeof time === "string") throw new UnsupportedError(`kernel "${name}" could not be timed: ${time}`);
      return sum + time;
    }, 0);
    return nanoseconds / 1e9;
  };
  if (!graphs.update)
    return {
      microBatch: await timed(graphs.step, (updates) => !updates),
      update: await timed(graphs.step, (updates) => updates),
    };
  return {
    microBatch: (await timed(graphs.step)) + (await timed(graphs.features)) + (await timed(graphs.shares)),
    update: (await timed(graphs.middle)) + (await timed(graphs.update)),
  };
}

interface Compiled {
  readonly planned: ReturnType<typeof planKernels>;
  readonly program: ReturnType<typeof compileKernels>;
}
