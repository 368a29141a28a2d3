/** The phases of a step: which graphs are run with each of its batches, and which when all of them are there. */
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, inputName } from "../../compiler/index.ts";
import type { TrainingJob } from "./job.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** Submits one run. */
export type Run = () => Promise<Readonly<Record<string, HostTensor>>>;

export interface Phases {
  /** Batches that a step is made of. */
  readonly count: number;
  /**
   * What is to be run, in this order, with a step's next batch; `micro` counts from 0, and the last run of the last of them
   * gives the step's figures. `feeds` has the batch's random numbers too.
   */
  runs(store: Store, micro: number, feeds: Feeds): readonly Run[];
  dispose(): void;
}

/** Compiles all graphs of a job's step. The update is f32 in either precision. */
export async function compilePhases(job: TrainingJob, backend: Backend): Promise<Phases> {
  const { graph, accumulation, precision } = job.step;
  const compiled: Executable[] = [];
  const compile = async (graph: Graph, inPrecision = true): Promise<Executable> => {
    const options = { sizes: job.sizes, fixed: true, beside: [...compiled], ...(inPrecision && { precision }) };
    const executable = await backend.compile(graph, options);
    compiled.push(executable);
    return executable;
  };
  const dispose = () => {
    for (const executable of compiled) executable.dispose();
  };
  if (!accumulation) {
    const step = await compile(graph);
    return { count: 1, dispose, runs: (store, _, feeds) => [() => step.run(feeds, store)] };
  }

  const { count, cached } = accumulation;
  const quiet = (executable: Executable, store: Store, feeds: Feeds): Run => {
    return () => executable.run(feeds, store, { fetch: [] });
  };
  const [features, middle] = cached ? [await compile(cached.features), await compile(cached.middle)] : [];
  const update = await compile(accumulation.update, false);
  const step = await compile(graph); // last: it alone has much that can be computed again instead of kept
  const ends = (micro: number) => micro === count - 1;
  if (!cached)
    return {
      count,
      dispose,
      runs: (store, micro, feeds) => [quiet(step, store, feeds), ...(ends(micro) ? [() => update.run({}, store)] : [])],
    };

  /** The batches of the step at hand, which are read twice. */
  let held: Feeds[] = [];
  return {
    count,
    dispose,
    runs: (store, micro, feeds) => {
      const first = quiet(features!, store, without(feeds, graph, cached.features));
      held = micro === 0 ? [feeds] : [...held, feeds];
      if (!ends(micro)) return [first];
      const again = held.map((batch) => quiet(step, store, without(batch, cached.features, graph)));
      held = [];
      return [first, quiet(middle!, store, {}), ...again, () => update.run({}, store)];
    },
  };
}

/** Feeds without those that only another graph of the step reads; what none of them knows stays, and is refused. */
function without(feeds: Feeds, other: Graph, graph: Graph): Feeds {
  const own = new Set(graph.inputs.map(inputName));
  const foreign = new Set(other.inputs.map(inputName).filter((name) => !own.has(name)));
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => !foreign.has(name)));
}
