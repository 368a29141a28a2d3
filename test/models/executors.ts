/** The executors that models are tested on, and how far each may be from PyTorch in float64. */
import type { Backend, Store } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { type Graph, type HostTensor, inputName } from "../../compiler/index.ts";
import { softwareDevice } from "../support/adapter.ts";
import { onceAFile } from "../support/once-a-file.ts";

export interface Executor {
  readonly name: string;
  readonly make: () => Backend | Promise<Backend>;
  /** Relative to the largest value of a tensor. */
  readonly tolerance: number;
}

export const executors: readonly Executor[] = [
  { name: "reference", make: referenceBackend, tolerance: 1e-6 },
  { name: "cpu", make: () => cpuBackend(), tolerance: 1e-4 },
];

/** One for a test file, so that pipelines are compiled once; the adapter goes with the file, not with its users. */
const softwareBackend = onceAFile(async () => ({ ...webgpuBackend(await softwareDevice()), dispose: () => {} }));

/** With kernels on the software adapter, which takes a second or so to compile a large one. */
export const allExecutors: readonly Executor[] = [
  ...executors,
  { name: "webgpu", make: softwareBackend, tolerance: 1e-4 },
];

export async function storeWith(backend: Backend, values: ReadonlyMap<string, HostTensor>): Promise<Store> {
  const store = backend.createStore();
  for (const [name, value] of values) await store.write(name, value);
  return store;
}

/** Runs a graph once; of the feeds, those that the graph asks for. */
export async function runOnce(
  { make }: Executor,
  graph: Graph,
  feeds: Readonly<Record<string, HostTensor>>,
  weights: ReadonlyMap<string, HostTensor>,
): Promise<Record<string, HostTensor>> {
  const backend = await make();
  try {
    const executable = await backend.compile(graph);
    const store = await storeWith(backend, weights);
    const wanted = new Set(graph.inputs.map(inputName));
    const given = Object.fromEntries(Object.entries(feeds).filter(([name]) => wanted.has(name)));
    const results = await executable.run(given, store);
    executable.dispose();
    store.dispose();
    return results;
  } finally {
    backend.dispose();
  }
}
