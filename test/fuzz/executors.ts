/** What graphs are run on: the kernels interpreted for two families of adapters, and a WebGPU device with either's schedules. */
import { isResident } from "../../backends/feeds.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import {
  type AdapterFacts,
  compileKernels,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  runProgram,
  type SizedAxis,
} from "../../compiler/index.ts";
import { adapters } from "../kernels/support.ts";
import { asHardware } from "../webgpu/support.ts";
import type { Values } from "./tolerance.ts";

/** Every output of a run, and every state after it. */
export interface Run {
  readonly outputs: ReadonlyMap<string, ArrayLike<number>>;
  readonly states: ReadonlyMap<string, ArrayLike<number>>;
}

export interface Executor {
  readonly name: string;
  /** What its kernels are compiled for. */
  readonly facts: AdapterFacts;
  run(graph: Graph, values: Values): Promise<Run>;
}

const stateNames = (graph: Graph): string[] =>
  graph.inputs.filter((n) => n.attrs.role === "state").map((n) => inputName(n));

function interpreter(name: string, facts: AdapterFacts): Executor {
  return {
    name: `interpreter, ${name}`,
    facts,
    async run(graph, values) {
      const { outputs, inputs } = runProgram(compileKernels(graph, facts), values);
      // A state that nothing reads or writes is no input of the program: it stays as it was given.
      return { outputs, states: new Map(stateNames(graph).map((s) => [s, inputs.get(s) ?? values.get(s)!])) };
    },
  };
}

export const interpreters: readonly Executor[] = Object.entries(adapters).map(([name, facts]) =>
  interpreter(name, facts),
);

const hostValue = (node: Node, values: Values): HostTensor =>
  hostTensor(node.type.dtype, node.type.axes as readonly SizedAxis[], Array.from(values.get(inputName(node))!));

function onDevice(name: string, gpu: GpuDevice): Executor {
  return {
    name: `webgpu, ${name} schedules`,
    facts: name === "software" ? adapters.software! : adapters.gpu!,
    async run(graph, values) {
      const backend = webgpuBackend(gpu);
      const store = backend.createStore();
      const feeds: Record<string, HostTensor> = {};
      for (const n of graph.inputs) {
        if (isResident(n)) await store.write(inputName(n), hostValue(n, values));
        else feeds[inputName(n)] = hostValue(n, values);
      }
      const executable = await backend.compile(graph);
      try {
        const got = await executable.run(feeds, store, { fetch: graph.outputs.map((o) => o.name) });
        const states = new Map<string, ArrayLike<number>>();
        for (const name of stateNames(graph)) states.set(name, (await store.read(name)).data);
        return { outputs: new Map(Object.entries(got).map(([k, t]) => [k, t.data])), states };
      } finally {
        executable.dispose();
        store.dispose();
      }
    },
  };
}

/** A device twice: as the software adapter it is, and with the schedules and the few bindings of a GPU. */
export const devices = (gpu: GpuDevice): readonly Executor[] => [
  onDevice("software", gpu),
  onDevice("gpu", asHardware(gpu)),
];
