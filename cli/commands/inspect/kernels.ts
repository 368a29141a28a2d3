/** `heddle inspect --kernels`: the schedule of each kernel and, on this machine's GPU, its time. */

import { tunedOptions } from "../../../api/node-index.ts";
import { factsOf, timeKernels, type WebgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestDevice } from "../../../backends/webgpu/node-index.ts";
import {
  bindSizes,
  compileKernels,
  didYouMean,
  type Graph,
  globMatches,
  type PrecisionPath,
  type Program,
  type ProgramKernel,
  type Sizes,
  UsageError,
} from "../../../compiler/index.ts";
import { adapterNamed } from "../../adapters.ts";
import { ceilingsOf } from "../../ceilings.ts";
import { type Measured, printKernels, shapesOf } from "../../kernel-report.ts";
import { json } from "../../output.ts";
import { keptAs, precisionFor, precisionText, weightDtype } from "../../precision.ts";
import { sizesOf } from "../../sizes.ts";
import type { InspectArguments } from "./arguments.ts";
import { pathOf, pathOn } from "./programs.ts";

/** Lists kernels with their schedules. Sizes stay symbolic, as on a device, except with --fixed. */
export async function showKernels(graph: Graph, args: InspectArguments, pattern: string): Promise<number> {
  const sizes = sizesOf(graph, args);
  const precision = precisionFor(args.dtype);
  const bound = keptAs(args.fixed ? bindSizes(graph, sizes) : graph, weightDtype(args.dtype));
  if (args.measure)
    return await withGpu(async (gpu) => {
      const program = compileKernels(bound, factsOf(gpu), { ...(await tunedOptions(gpu)), precision });
      const chosen = kernelsNamed(program, pattern);
      const { ceilings } = await ceilingsOf(gpu);
      const times = await timeKernels(gpu, program, chosen, sizes);
      const path = precision === "f16" ? pathOn(factsOf(gpu), graph, args) : undefined;
      const adapter = gpu.adapter.description;
      const about = { name: adapter, what: `${adapter}, timed`, path };
      return reportKernels(program, chosen, sizes, about, args, { ceilings, times });
    });
  const { what, facts, measured } = adapterNamed(args.adapter);
  const program = compileKernels(bound, facts, { precision });
  const about = { name: args.adapter, what, path: precision === "f16" ? pathOf(graph, args) : undefined };
  return reportKernels(program, kernelsNamed(program, pattern), sizes, about, args, measured);
}

async function withGpu<T>(body: (gpu: WebgpuBackend["gpu"]) => Promise<T>): Promise<T> {
  const gpu = await requestDevice({ prefer: "hardware" });
  try {
    return await body(gpu);
  } finally {
    gpu.dispose();
  }
}

/** The kernels that match a pattern. Throws UsageError if none does. */
export function kernelsNamed({ kernels, graph }: Program, pattern: string): readonly ProgramKernel[] {
  const chosen = kernels.filter((k) => globMatches(pattern, k.name));
  if (chosen.length > 0) return chosen;
  const near = didYouMean(
    pattern,
    kernels.map((k) => k.name),
  );
  throw new UsageError(`no kernel of ${graph.name} is called "${pattern}"${near || "; --kernels lists them all"}`);
}

interface About {
  readonly name: string;
  readonly what: string;
  /** Present if f16 is requested. */
  readonly path: PrecisionPath | undefined;
}

function reportKernels(
  program: Program,
  chosen: readonly ProgramKernel[],
  sizes: Sizes,
  { name, what, path }: About,
  args: InspectArguments,
  measured?: Measured,
): number {
  const shapes = shapesOf(chosen, sizes, measured);
  const precision = path && { precision: path };
  const report = { model: program.graph.name, adapter: name, sizes, ...precision, open: program.symbols, shapes };
  const notes = path ? [`computed in ${precisionText(path)}`] : [];
  process.stdout.write(
    args.json ? `${json(report)}\n` : printKernels(program, shapes, sizes, { adapter: what, notes }),
  );
  return 0;
}
