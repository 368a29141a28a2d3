/** Inference sessions: a compiled graph with its weights on a device. */
import type { Backend, CompileOptions, RunOptions } from "../backends/backend.ts";
import { didYouMean, type Graph, type HostTensor, inputName, isParameter, UsageError } from "../compiler/index.ts";

export interface InferenceSession {
  /** Runs once on the given inputs, by name. */
  run(feeds: Readonly<Record<string, HostTensor>>, options?: RunOptions): Promise<Record<string, HostTensor>>;
  dispose(): void;
}

export type SessionOptions = CompileOptions;

/** Compiles a graph and loads its parameters onto the device; throws UsageError naming every missing weight. */
export async function createSession(
  backend: Backend,
  graph: Graph,
  weights: ReadonlyMap<string, HostTensor>,
  options: SessionOptions = {},
): Promise<InferenceSession> {
  const names = graph.inputs.filter(isParameter).map(inputName);
  const missing = names.filter((n) => !weights.has(n));
  if (missing.length > 0) {
    const shown = missing.slice(0, 8).map((n) => `  ${n}${didYouMean(n, weights.keys())}`);
    throw new UsageError(
      `graph @${graph.name} lacks ${missing.length} of ${names.length} weights:\n${shown.join("\n")}`,
    );
  }
  const store = backend.createStore();
  for (const name of names) await store.write(name, weights.get(name)!);
  const executable = await backend.compile(graph, options);
  return {
    run: (feeds, runOptions) => executable.run(feeds, store, runOptions),
    dispose: () => {
      executable.dispose();
      store.dispose();
    },
  };
}
