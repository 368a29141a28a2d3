/** The phases of a step: which graphs run for each micro-batch, and which after the last. */
import { runsInParts } from "#several-ranks";
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, inputName } from "../../compiler/index.ts";
import type { TrainingJob } from "./job.ts";
import type { Between, Phases, Run } from "./runs.ts";
import { lengthOf, type Share } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** Compiles all graphs of a job's step. The update is always computed in f32. */
export async function compilePhases(job: TrainingJob, backend: Backend, between?: Between): Promise<Phases> {
  const { graph, accumulation, precision } = job.step;
  const compiled: Executable[] = [];
  const compile = async (graph: Graph, { sizes = job.sizes, inPrecision = true } = {}): Promise<Executable> => {
    const options = { sizes, fixed: true, beside: [...compiled], ...(inPrecision && { precision }) };
    const executable = await backend.compile(graph, options);
    compiled.push(executable);
    return executable;
  };
  const dispose = () => {
    for (const executable of compiled) executable.dispose();
  };
  if (!accumulation) {
    const step = await compile(graph);
    return { count: 1, dispose, runs: (store, _, feeds) => [{ start: () => step.run(feeds, store) }] };
  }

  const { cached } = accumulation;
  const count = between?.share.pieces.length ?? accumulation.count;
  const quiet = (executable: Executable, store: Store, feeds: Feeds): Run => {
    return { start: () => executable.run(feeds, store, { fetch: [] }) };
  };
  const alone = (work: ((store: Store) => Promise<void>) | undefined, store: Store): Run[] =>
    work ? [{ isAlone: true, start: () => work(store).then(() => ({})) }] : [];
  const isWhole = between?.divided === undefined;
  const inPieces = (graph: Graph) =>
    ofPieces(between?.share, count, (rows) =>
      compile(graph, rows === undefined ? {} : { sizes: { ...job.sizes, [between!.share.symbol]: rows } }),
    );
  const [features, middle] = cached && isWhole ? [await inPieces(cached.features), await compile(cached.middle)] : [];
  const update = await compile(accumulation.update, { inPrecision: false });
  /** A run of the step; in the last micro-batch, ranks exchange gradient sums while it is still running. */
  const adding = (step: Executable, store: Store, feeds: Feeds, micro: number): Run =>
    between && step.isGradual && ends(micro) ? givingEarly(step, store, feeds, between) : quiet(step, store, feeds);
  const ends = (micro: number) => micro === count - 1;
  const spread = between?.spread;
  const updated = async (store: Store) => {
    const figures = await update.run({}, store);
    await spread!(store);
    return figures;
  };
  const updating = (store: Store): Run[] => [
    ...alone(between?.addUp, store),
    spread ? { start: () => updated(store), isAlone: true } : { start: () => update.run({}, store) },
  ];
  if (between?.divided) {
    const divided = { ...between, divided: between.divided };
    const isHalf = backend.precision({ precision, parameters: "f32" }).computes === "f16";
    return { count, dispose, ...(await runsInParts(job, divided, compile, isHalf, updating)) };
  }
  const steps = await inPieces(graph); // last, since only this graph has much to gain from rematerialization
  if (!cached)
    return {
      count,
      dispose,
      runs: (store, micro, feeds) => [
        adding(steps[micro]!, store, feeds, micro),
        ...(ends(micro) ? updating(store) : []),
      ],
    };

  const fedTo = (of: Graph, feeds: Feeds) => without(feeds, [graph, cached.features, cached.middle], of);
  /** The step's batches so far, which are read twice. */
  let held: Feeds[] = [];
  return {
    count,
    dispose,
    runs: (store, micro, feeds) => {
      const first = quiet(features![micro]!, store, fedTo(cached.features, feeds));
      held = micro === 0 ? [feeds] : [...held, feeds];
      if (!ends(micro)) return [first];
      const again = held.map((batch, i) => adding(steps[i]!, store, fedTo(graph, batch), i));
      held = [];
      return [
        first,
        ...alone(between?.gather, store),
        quiet(middle!, store, ofInputs(cached.middle, feeds)),
        ...alone(between?.addRows, store),
        ...again,
        ...updating(store),
      ];
    },
  };
}

/** A run whose gradient sums are passed on as each becomes available, or at the latest at the end. */
function givingEarly(step: Executable, store: Store, feeds: Feeds, { early, addEarly }: Between): Run {
  return {
    start: async () => {
      const told = early.map((output) => ({ output, ...Promise.withResolvers<HostTensor>() }));
      const tell = (output: string, sum: HostTensor) => told.find((t) => t.output === output)!.resolve(sum);
      for (const { output, promise } of told) addEarly(output, promise, store);
      try {
        const sums = await step.run(feeds, store, { fetch: early, arrived: tell });
        for (const { output } of told) tell(output, sums[output]!);
      } catch (error) {
        for (const { reject } of told) reject(error);
        throw error;
      }
      return {};
    },
  };
}

/** A graph for each of the micro-batches, compiled once for each of a rank's piece sizes; without ranks, once. */
async function ofPieces(
  share: Share | undefined,
  count: number,
  compile: (rows?: number) => Promise<Executable>,
): Promise<readonly Executable[]> {
  if (!share) return new Array<Executable>(count).fill(await compile());
  const bySize = new Map<number, Executable>();
  const lengths = share.pieces.map(lengthOf);
  for (const rows of new Set(lengths)) bySize.set(rows, await compile(rows));
  return lengths.map((rows) => bySize.get(rows)!);
}

/** Drops feeds that only other graphs of the step read; unknown names stay, and are rejected when run. */
function without(feeds: Feeds, others: readonly Graph[], graph: Graph): Feeds {
  const own = new Set(graph.inputs.map(inputName));
  const foreign = new Set(others.flatMap((g) => g.inputs.map(inputName)).filter((name) => !own.has(name)));
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => !foreign.has(name)));
}

/** The feeds of a graph's inputs. */
function ofInputs(graph: Graph, feeds: Feeds): Feeds {
  const own = new Set(graph.inputs.map(inputName));
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => own.has(name)));
}
