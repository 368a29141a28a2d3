/**
 * Kernels of the software adapter, interpreted: what it computes, without the second that it takes to compile a large
 * one.
 */
import { checkFeeds } from "../../backends/feeds.ts";
import { emitWgsl } from "../../backends/webgpu/emit/wgsl.ts";
import { factsOf } from "../../backends/webgpu/runtime/backend.ts";
import {
  compileKernels,
  type Graph,
  type HostTensor,
  inputName,
  type Kernel,
  runProgram,
} from "../../compiler/index.ts";
import { softwareDevice, validatingDevice } from "../support/adapter.ts";

/**
 * Compiles a graph as it is for the software adapter, has Dawn check the WGSL of its kernels, and interprets them: reads
 * out of bounds and races are found, which the adapter itself would let pass.
 */
export async function runInterpreted(
  graph: Graph,
  feeds: Readonly<Record<string, HostTensor>>,
  weights: ReadonlyMap<string, HostTensor>,
): Promise<Record<string, { readonly data: ArrayLike<number> }>> {
  const gpu = await softwareDevice();
  const program = compileKernels(graph, factsOf(gpu));
  const { subgroupSize } = gpu.adapter;
  for (const { kernel } of program.kernels)
    await assertValid(kernel, emitWgsl(kernel, { subgroupSizes: subgroupSize }));
  const given = new Map([...Object.entries(feeds), ...weights].map(([name, { data }]) => [name, data]));
  const wanted = new Set(graph.inputs.map(inputName));
  const sizes = checkFeeds(graph, Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name))));
  const { outputs } = runProgram(program, given, sizes);
  return Object.fromEntries([...outputs].map(([name, data]) => [name, { data }]));
}

const checked = new Set<string>();

async function assertValid(kernel: Kernel, code: string): Promise<void> {
  if (checked.has(code)) return;
  checked.add(code);
  const { device, settle } = await validatingDevice();
  const { messages } = await settle(device.createShaderModule({ code }).getCompilationInfo());
  if (messages.length > 0) throw new Error(`kernel "${kernel.name}": ${messages[0]!.message} in\n${code}`);
}
