/** Runs graphs on WebGPU and holds them against the reference interpreter. */
import { isResident } from "../../backends/feeds.ts";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { type Graph, type HostTensor, hostTensor, inputName, type SizedAxis } from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";

/** f32 roundings of a few dozen terms, and of approximations such as that of erf. */
export const tolerance = { absolute: 2e-4, relative: 2e-3 };

/** The device with the schedules of a GPU, bindings as few as WebGPU guarantees. */
export const asHardware = (gpu: GpuDevice): GpuDevice => ({
  ...gpu,
  adapter: { ...gpu.adapter, software: false },
  limits: { ...gpu.limits, maxStorageBuffersPerShaderStage: 8 },
});

export const hostValues = (graph: Graph, values: ReadonlyMap<string, Float64Array>): Map<string, HostTensor> =>
  new Map(
    graph.inputs.map((n) => {
      const data = Array.from(values.get(inputName(n))!);
      return [inputName(n), hostTensor(n.type.dtype, n.type.axes as readonly SizedAxis[], data)];
    }),
  );

/** Runs a graph once on a device, states and parameters in a store of its own. */
export async function runOn(gpu: GpuDevice, graph: Graph, values: ReadonlyMap<string, Float64Array>) {
  const backend = webgpuBackend(gpu);
  const store = backend.createStore();
  const feeds: Record<string, HostTensor> = {};
  const given = hostValues(graph, values);
  for (const n of graph.inputs) {
    if (isResident(n)) await store.write(inputName(n), given.get(inputName(n))!);
    else feeds[inputName(n)] = given.get(inputName(n))!;
  }
  const executable = await backend.compile(graph);
  try {
    return await executable.run(feeds, store, { fetch: graph.outputs.map((o) => o.name) }); // new states too
  } finally {
    executable.dispose();
    store.dispose();
  }
}

/** What a device computes differently from the reference: one line for each output that does. */
export async function mistakes(
  gpu: GpuDevice,
  graph: Graph,
  values: ReadonlyMap<string, Float64Array>,
): Promise<string[]> {
  const got = await runOn(gpu, graph, values);
  return [...evaluate(graph, values)].flatMap(([name, want]) => {
    const over = excess(got[name]!.data, want.data, tolerance.absolute, tolerance.relative);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
}
