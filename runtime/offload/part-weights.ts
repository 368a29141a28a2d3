/** The weights of parts on a device, loading one part's while another runs. */
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type Graph, isParameter, type Node, type Part, type Precision, partNames } from "../../compiler/index.ts";
import { type ParameterSource, writeParameters } from "../parameter-source.ts";

/** A part that is ready to run. */
export interface LoadedPart {
  readonly executable: Executable;
  readonly store: Store;
}

export interface PartWeights {
  /** Compiles a part, reusing that of an equal part, and puts its weights on the device. */
  load(part: Part): Promise<LoadedPart>;
  /** Marks a part as done: the next equal part reuses its memory. */
  release(part: LoadedPart): void;
  /** Frees the memory of all weights, after a run has succeeded or failed. */
  rest(): void;
  dispose(): void;
}

interface Compiled {
  readonly results: readonly Node[];
  readonly executable: Executable;
}

export function partWeights(backend: Backend, parameters: ParameterSource, precision: Precision): PartWeights {
  const compiled: Compiled[] = [];
  const idle = new Map<Store, Executable>();
  const open = new Set<Store>();

  const compile = async (graph: Graph): Promise<Executable> => {
    const results = graph.outputs.map((o) => o.node);
    const equal = compiled.find(
      (c) => c.results.length === results.length && c.results.every((r, i) => r === results[i]),
    );
    if (equal) return equal.executable;
    const executable = await backend.compile(graph, { precision });
    compiled.push({ results, executable });
    return executable;
  };
  /** The memory of an equal part. That of other parts is freed first, so that at most two parts are held. */
  const storeFor = (executable: Executable): Store => {
    let found: Store | undefined;
    for (const [store, owner] of idle) {
      idle.delete(store);
      if (owner === executable && !found) found = store;
      else close(store);
    }
    const store = found ?? backend.createStore();
    open.add(store);
    return store;
  };
  const close = (store: Store) => {
    open.delete(store);
    store.dispose();
  };
  const rest = () => {
    for (const store of [...open]) close(store);
    idle.clear();
  };
  return {
    async load(part) {
      const executable = await compile(part.graph);
      const store = storeFor(executable);
      const byName = new Map(part.weights.map((name, i) => [partNames.weight(i), name]));
      await writeParameters(store, parameters, part.graph.inputs.filter(isParameter), (name) => byName.get(name)!);
      return { executable, store };
    },
    release: ({ executable, store }) => void idle.set(store, executable),
    rest,
    dispose() {
      rest();
      for (const { executable } of compiled) executable.dispose();
      compiled.length = 0;
    },
  };
}
