/** The phases of a step: which graphs run for each micro-batch, and which after the last. */
import { runsInParts } from "#several-ranks";
import type { Backend, Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, inputName, type Sizes } from "../../compiler/index.ts";
import type { TrainingJob } from "./job.ts";
import type { Between, Phases, Run } from "./runs.ts";
import { lengthOf, type Share } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

type Compile = (graph: Graph, options?: { sizes?: Sizes; inPrecision?: boolean }) => Promise<Executable>;
type Cached = NonNullable<NonNullable<TrainingJob["step"]["accumulation"]>["cached"]>;
/** The runs of a graph for one micro-batch. */
type Adding = (store: Store, feeds: Feeds, micro: number) => Run;
type Updating = (store: Store) => Run[];

/** Compiles all graphs of a job's step. The update is always computed in f32. */
export async function compilePhases(job: TrainingJob, backend: Backend, between?: Between): Promise<Phases> {
  const { graph, accumulation, precision } = job.step;
  const { compile, dispose } = compiling(job, backend);
  if (!accumulation) {
    const step = await compile(graph);
    return { count: 1, dispose, runs: (store, _, feeds) => [{ start: () => step.run(feeds, store) }] };
  }
  const { cached, terms, update } = accumulation;
  const count = between?.share.pieces.length ?? accumulation.count;
  const updating = async () => {
    const before = terms && (await compile(terms, { inPrecision: false }));
    return updatingRuns(await compile(update, { inPrecision: false }), before, between);
  };
  if (between?.divided) {
    const divided = { ...between, divided: between.divided };
    const isHalf = backend.precision({ precision, parameters: "f32" }).computes === "f16";
    return { count, dispose, ...(await runsInParts(job, divided, compile, isHalf, await updating())) };
  }
  const inPieces = (graph: Graph) =>
    ofPieces(between?.share, count, (rows) =>
      compile(graph, rows === undefined ? {} : { sizes: { ...job.sizes, [between!.share.symbol]: rows } }),
    );
  const before = cached && { features: await inPieces(cached.features), middle: await compile(cached.middle) };
  const after = await updating();
  // Last, since only this graph has much to gain from rematerialization.
  const adding = addingRuns(await inPieces(graph), count, between);
  if (cached && before)
    return { count, dispose, runs: cachedRuns(job.step.graph, { ...cached, count }, before, adding, after, between) };
  return {
    count,
    dispose,
    runs: (store, micro, feeds) => [adding(store, feeds, micro), ...(micro === count - 1 ? after(store) : [])],
  };
}

/** Compiles graphs one after another, each beside those before it. */
function compiling(job: TrainingJob, backend: Backend): { readonly compile: Compile; readonly dispose: () => void } {
  const { precision } = job.step;
  const compiled: Executable[] = [];
  return {
    compile: async (graph, { sizes = job.sizes, inPrecision = true } = {}) => {
      const options = { sizes, fixed: true, beside: [...compiled], ...(inPrecision && { precision }) };
      const executable = await backend.compile(graph, options);
      compiled.push(executable);
      return executable;
    },
    dispose: () => {
      for (const executable of compiled) executable.dispose();
    },
  };
}

const quiet = (executable: Executable, store: Store, feeds: Feeds): Run => ({
  start: () => executable.run(feeds, store, { fetch: [] }),
});

const alone = (work: ((store: Store) => Promise<void>) | undefined, store: Store): Run[] =>
  work ? [{ isAlone: true, start: () => work(store).then(() => ({})) }] : [];

/** Runs that add a micro-batch's gradients; in the last, ranks exchange gradient sums while it is still running. */
function addingRuns(steps: readonly Executable[], count: number, between: Between | undefined): Adding {
  return (store, feeds, micro) => {
    const step = steps[micro]!;
    const isLast = micro === count - 1;
    return between && step.isGradual && isLast ? givingEarly(step, store, feeds, between) : quiet(step, store, feeds);
  };
}

/** After the last micro-batch: ranks add up their gradients, update, and distribute what each has updated. */
function updatingRuns(update: Executable, terms: Executable | undefined, between: Between | undefined): Updating {
  const spread = between?.spread;
  const updated = async (store: Store) => {
    const figures = await update.run({}, store);
    await spread!(store);
    return figures;
  };
  return (store) => [
    ...alone(between?.addUp, store),
    ...(terms ? [quiet(terms, store, {}), ...alone(between?.addTerms, store)] : []),
    spread ? { start: () => updated(store), isAlone: true } : { start: () => update.run({}, store) },
  ];
}

/**
 * With gradient caching: the features of all micro-batches, then the loss of all features, then each micro-batch again
 * for its gradients.
 */
function cachedRuns(
  graph: Graph,
  { features, middle, inShares, count }: Cached & { readonly count: number },
  compiled: { readonly features: readonly Executable[]; readonly middle: Executable },
  adding: Adding,
  updating: Updating,
  between: Between | undefined,
): Phases["runs"] {
  const fedTo = (of: Graph, feeds: Feeds) => without(feeds, [graph, features, middle], of);
  /** The step's batches so far, which are read twice. */
  let held: Feeds[] = [];
  return (store, micro, feeds) => {
    const first = quiet(compiled.features[micro]!, store, fedTo(features, feeds));
    held = micro === 0 ? [feeds] : [...held, feeds];
    if (micro < count - 1) return [first];
    const again = held.map((batch, i) => adding(store, fedTo(graph, batch), i));
    held = [];
    return [
      first,
      ...alone(between?.gather, store),
      ...new Array<Run>(inShares ? count : 1).fill(quiet(compiled.middle, store, ofInputs(middle, feeds))),
      ...alone(between?.addRows, store),
      ...again,
      ...updating(store),
    ];
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
