/**
 * The executors under test: kernels interpreted for two families of adapters, and a WebGPU device with either family's
 * schedules; each with sizes known at compile time, and with symbolic sizes bound per run.
 */
import { isResident } from "../../backends/feeds.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import {
  type AdapterFacts,
  bindSizes,
  compileKernels,
  type Graph,
  type HostTensor,
  hostTensor,
  InternalError,
  inputName,
  type Node,
  type Program,
  runProgram,
  type SizedAxis,
  type Sizes,
} from "../../compiler/index.ts";
import { adapters } from "../kernels/support.ts";
import { asHardware } from "../webgpu/support.ts";
import type { Values } from "./tolerance.ts";

/** Every output of a run, and every state after it. */
export interface Run {
  readonly outputs: ReadonlyMap<string, ArrayLike<number>>;
  readonly states: ReadonlyMap<string, ArrayLike<number>>;
}

/** A compiled graph, which may be run several times. */
export interface Prepared {
  /** The graph as its kernels compute it, where they round values that the given graph does not: to f16. */
  readonly computed?: Graph;
  run(values: Values, sizes: Sizes): Promise<Run>;
  dispose(): void;
}

export interface Executor {
  readonly name: string;
  /** What its kernels are compiled for. */
  readonly facts: AdapterFacts;
  /** Whether it compiles graphs with symbolic sizes; otherwise sizes are bound first. */
  readonly open: boolean;
  prepare(graph: Graph): Promise<Prepared>;
}

/** One with sizes known, one with sizes symbolic. */
const both = (make: (open: boolean, suffix: string) => Executor): Executor[] => [
  make(false, ""),
  make(true, ", sizes open"),
];

const stateNames = (graph: Graph): string[] =>
  graph.inputs.filter((n) => n.attrs.role === "state").map((n) => inputName(n));

/** A program, and the graph it really computes where it rounds more than the given graph does. */
export interface Compiled {
  readonly program: Program;
  readonly computed?: Graph;
}

/** Interpreters of the programs that `compile` makes, for known and for symbolic sizes. */
export const interpretersOf = (
  name: string,
  facts: AdapterFacts,
  compile: (graph: Graph) => Promise<Compiled>,
): readonly Executor[] =>
  both((open, suffix) => ({
    name: `interpreter, ${name}${suffix}`,
    facts,
    open,
    async prepare(graph) {
      const { program, computed } = await compile(graph);
      return {
        ...(computed && { computed }),
        async run(values, sizes) {
          const { outputs, inputs } = runProgram(program, values, sizes);
          // A state that nothing reads or writes is no input of the program: it keeps its value.
          return { outputs, states: new Map(stateNames(graph).map((s) => [s, inputs.get(s) ?? values.get(s)!])) };
        },
        dispose() {},
      };
    },
  }));

export const interpreters: readonly Executor[] = Object.entries(adapters).flatMap(([name, facts]) =>
  interpretersOf(name, facts, async (graph) => ({ program: compileKernels(graph, facts) })),
);

/** A device that is reopened after it refuses a command: from then on it would refuse everything. */
interface Opened {
  gpu: GpuDevice;
  readonly renew?: (broken: GpuDevice) => Promise<GpuDevice>;
}

function onDevice(
  name: string,
  facts: AdapterFacts,
  open: boolean,
  opened: Opened,
  as: (gpu: GpuDevice) => GpuDevice,
): Executor {
  const guarded = async <T>(body: () => Promise<T>): Promise<T> => {
    try {
      return await body();
    } catch (error) {
      if (error instanceof InternalError && opened.renew) opened.gpu = await opened.renew(opened.gpu);
      throw error;
    }
  };
  return {
    name,
    facts,
    open,
    prepare: (graph) =>
      guarded(async () => {
        const prepared = await prepareOn(as(opened.gpu), graph);
        return { ...prepared, run: (values, sizes) => guarded(() => prepared.run(values, sizes)) };
      }),
  };
}

async function prepareOn(gpu: GpuDevice, graph: Graph): Promise<Prepared> {
  const backend = webgpuBackend(gpu);
  const store = backend.createStore();
  const executable = await backend.compile(graph);
  return {
    async run(values, sizes) {
      const feeds: Record<string, HostTensor> = {};
      for (const n of bindSizes(graph, sizes).inputs) {
        if (isResident(n)) await store.write(inputName(n), hostValue(n, values));
        else feeds[inputName(n)] = hostValue(n, values);
      }
      const got = await executable.run(feeds, store, { fetch: graph.outputs.map((o) => o.name) });
      const states = new Map<string, ArrayLike<number>>();
      for (const name of stateNames(graph)) states.set(name, (await store.read(name)).data);
      return { outputs: new Map(Object.entries(got).map(([k, t]) => [k, t.data])), states };
    },
    dispose() {
      executable.dispose();
      store.dispose();
    },
  };
}

const hostValue = (node: Node, values: Values): HostTensor =>
  hostTensor(node.type.dtype, node.type.axes as readonly SizedAxis[], Array.from(values.get(inputName(node))!));

/** A device as the software adapter it is, and with the schedules and the binding limit of a GPU. */
export function devices(gpu: GpuDevice, renew?: Opened["renew"]): readonly Executor[] {
  const opened: Opened = { gpu, ...(renew && { renew }) };
  return both((open, suffix) =>
    onDevice(`webgpu, software schedules${suffix}`, adapters.software!, open, opened, (device) => device),
  ).concat(both((open, suffix) => onDevice(`webgpu, gpu schedules${suffix}`, adapters.gpu!, open, opened, asHardware)));
}
