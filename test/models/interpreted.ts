/**
 * Kernels of a device, interpreted: what it computes, without the second that the software adapter takes to compile a
 * large one.
 */
import { checkFeeds } from "../../backends/feeds.ts";
import { emitWgsl } from "../../backends/webgpu/emit/wgsl.ts";
import { factsOf } from "../../backends/webgpu/runtime/backend.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import {
  compileKernels,
  type Graph,
  type HostTensor,
  inputName,
  type Kernel,
  runProgram,
} from "../../compiler/index.ts";
import { softwareDevice, validatingDevice } from "../support/adapter.ts";

/** Values of a run by name. */
type Values = Readonly<Record<string, HostTensor>>;

/**
 * Compiles a graph as it is for a device, has Dawn check the WGSL of its kernels, all variants included, and interprets
 * them at each run: reads out of bounds and races are found, which the software adapter itself would let pass.
 */
export async function interpretedFor(gpu: GpuDevice, graph: Graph, weights: ReadonlyMap<string, HostTensor>) {
  const program = compileKernels(graph, factsOf(gpu));
  const { subgroupSize } = gpu.adapter;
  for (const { kernel } of program.kernels.flatMap((k) => [...k.special, k]))
    await assertValid(kernel, emitWgsl(kernel, { subgroupSizes: subgroupSize }));
  const wanted = new Set(graph.inputs.map(inputName));
  return (feeds: Values): Record<string, { readonly data: ArrayLike<number> }> => {
    const given = new Map([...Object.entries(feeds), ...weights].map(([name, { data }]) => [name, data]));
    const sizes = checkFeeds(graph, Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name))));
    const { outputs } = runProgram(program, given, sizes);
    return Object.fromEntries([...outputs].map(([name, data]) => [name, { data }]));
  };
}

/** Runs a graph once, by the kernels of the software adapter. */
export async function runInterpreted(graph: Graph, feeds: Values, weights: ReadonlyMap<string, HostTensor>) {
  return (await interpretedFor(await softwareDevice(), graph, weights))(feeds);
}

const checked = new Set<string>();

async function assertValid(kernel: Kernel, code: string): Promise<void> {
  if (checked.has(code)) return;
  checked.add(code);
  const { device, settle } = await validatingDevice();
  const { messages } = await settle(device.createShaderModule({ code }).getCompilationInfo());
  if (messages.length > 0) throw new Error(`kernel "${kernel.name}": ${messages[0]!.message} in\n${code}`);
}
