/** The phases of a step: what is run with each of its batches, and what when all of them are there. */
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import {
  bindDim,
  type Distribution,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  type Node,
  type SizedAxis,
  sourceOf,
} from "../../compiler/index.ts";
import { fillRandom } from "../random/streams.ts";
import type { TrainingJob } from "./job.ts";

export type Feeds = Readonly<Record<string, HostTensor>>;

export interface Phases {
  /** Batches that a step is made of. */
  readonly count: number;
  /**
   * Runs what a step's next batch allows: the step itself with its last or only one, whose outputs then come. `step` and
   * `micro` count from 0.
   */
  run(store: Store, at: { readonly step: number; readonly micro: number }, feeds: Feeds): Promise<Outputs | undefined>;
  dispose(): void;
}

type Outputs = Readonly<Record<string, HostTensor>>;

/** Compiles all graphs of a job's step. Only those that are fed compute in its precision: sums and updates are f32. */
export async function compilePhases(job: TrainingJob, backend: Backend): Promise<Phases> {
  const { graph, accumulation, precision } = job.step;
  const compiled: Executable[] = [];
  const compile = async (graph: Graph, inPrecision = true): Promise<Executable> => {
    const options = { sizes: job.sizes, fixed: true, ...(inPrecision && { precision }) };
    const executable = await backend.compile(graph, options);
    compiled.push(executable);
    return executable;
  };
  const dispose = () => compiled.forEach((e) => void e.dispose());
  const step = await compile(graph);
  const cached = accumulation?.cached;
  const [features, middle] = cached ? [await compile(cached.features), await compile(cached.middle)] : [];
  const update = accumulation && (await compile(accumulation.update, false));
  const count = accumulation?.count ?? 1;

  /** Runs a graph on one of a step's batches, with the same random numbers whenever it is that batch. */
  const pass = (executable: Executable, store: Store, index: number, feeds: Feeds, fetch?: readonly string[]) =>
    executable.run({ ...feeds, ...randomFeeds(job, executable.graph, index) }, store, fetch ? { fetch } : {});

  /** The batches of the step at hand, where they are read twice. */
  let held: Feeds[] = [];
  return {
    count,
    dispose,
    async run(store, at, feeds) {
      const index = at.step * count + at.micro;
      if (!update) return await pass(step, store, index, feeds);
      if (features) {
        if (at.micro === 0) held = [];
        held.push(feeds);
        await pass(features, store, index, without(feeds, graph, cached!.features), []);
      } else await pass(step, store, index, feeds, []);
      if (at.micro < count - 1) return undefined;
      if (middle) {
        await middle.run({}, store, { fetch: [] });
        for (const [micro, feeds] of held.entries())
          await pass(step, store, at.step * count + micro, without(feeds, cached!.features, graph), []);
        held = [];
      }
      return await update.run({}, store);
    },
  };
}

/** Feeds without those that only another graph of the step reads; what none of them knows stays, and is refused. */
function without(feeds: Feeds, other: Graph, graph: Graph): Feeds {
  const own = new Set(graph.inputs.map(inputName));
  const foreign = new Set(other.inputs.map(inputName).filter((name) => !own.has(name)));
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => !foreign.has(name)));
}

/** Numbers for a graph's random inputs, addressed by the input's name and the batch. */
function randomFeeds(job: TrainingJob, graph: Graph, index: number): Record<string, HostTensor> {
  const drawn = graph.inputs.filter((n) => sourceOf(n) === "random");
  return Object.fromEntries(drawn.map((n) => [inputName(n), drawRandom(n, job, index)]));
}

function drawRandom(node: Node, { seed, sizes }: TrainingJob, index: number): HostTensor {
  const axes = node.type.axes.map((a) => ({ name: a.name, size: bindDim(a.size, sizes) })) as SizedAxis[];
  const shape = axes.map((a) => a.size);
  return hostTensor(
    "f32",
    axes,
    fillRandom(node.attrs.dist as unknown as Distribution, shape, seed, inputName(node), index),
  );
}
