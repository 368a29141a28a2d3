/** The runs of a step whose graphs are split into parts, because gradients, or weights too, are sharded. */
import type { Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, halvesInMemory, type Sizes } from "../../compiler/index.ts";
import { cutGraph, type HandedOn, handedOn, partsOptions } from "../sharding/graph-parts.ts";
import { type DividedState, type PartRuns, partRuns } from "../sharding/part-runs.ts";
import { stepParts } from "../sharding/step-parts.ts";
import type { TrainingJob } from "./job.ts";
import type { Between, Phases, Run } from "./runs.ts";
import { lengthOf } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;
type Compile = (graph: Graph, options?: { sizes?: Sizes }) => Promise<Executable>;
type StepRuns = Pick<Phases, "runs" | "prepare">;

/** What the runs of a step need besides its parts. */
interface Divided extends Between {
  readonly divided: DividedState;
}

/** All ranks do the same number of runs: some of them idle, without samples. */
export async function runsInParts(
  job: TrainingJob,
  between: Divided,
  compile: Compile,
  isHalf: boolean,
  updating: (store: Store) => readonly Run[],
): Promise<StepRuns> {
  const { graph, accumulation } = job.step;
  const { share } = between;
  const places = handedOn();
  const inParts = partsCompiler(job, between, compile, isHalf, places);
  const rows = share.pieces.map(lengthOf);
  const cached = accumulation!.cached && (await cachedParts(accumulation!.cached, between, inParts));
  const steps = await inParts(graph, rows);
  const prepare = (store: Store) => places.write(store);
  const runs = cached
    ? cachedRuns({ ...cached, steps }, between, updating)
    : summedRuns(steps, share.most - rows.length, updating);
  return { prepare, runs };
}

/** Compiles a graph in parts, for each of these numbers of samples. */
type InParts = (graph: Graph, rows: readonly number[], partBytes?: number) => Promise<readonly PartRuns[]>;

function partsCompiler(
  job: TrainingJob,
  { share, divided }: Divided,
  compile: Compile,
  isHalf: boolean,
  places: HandedOn,
): InParts {
  const options = partsOptions(job.step.accumulation!.shared!.shard!.divided!);
  const cutAt = { ...job.sizes, [share.symbol]: share.rows };
  return async (graph, rows, partBytes = divided.partBytes) => {
    const cut = cutGraph(graph, partBytes, cutAt, options.given);
    const halves = isHalf ? halvesInMemory(cut.whole) : undefined;
    const bySize = new Map<number, PartRuns>();
    for (const n of new Set(rows)) {
      const sizes = { ...job.sizes, [share.symbol]: n };
      const parts = stepParts(cut, job.step, sizes, places, { ...options, ...(halves && { halves }) });
      bySize.set(n, await partRuns(parts, divided, (part) => compile(part, { sizes })));
    }
    return rows.map((n) => bySize.get(n)!);
  };
}

/** The parts of a step with cached features, by graph and micro-batch. */
interface CachedParts {
  readonly features: readonly PartRuns[];
  readonly middle: PartRuns;
  readonly inShares: boolean;
  readonly steps: readonly PartRuns[];
}

async function cachedParts(
  cached: NonNullable<NonNullable<TrainingJob["step"]["accumulation"]>["cached"]>,
  { share }: Divided,
  inParts: InParts,
): Promise<Omit<CachedParts, "steps">> {
  const rows = share.pieces.map(lengthOf);
  // Where the sizes of `middle` differ between ranks, so might its cuts: there it is one part.
  const isEven = new Set(share.ofRanks.map(({ from, to }) => to - from)).size === 1;
  const features = await inParts(cached.features, rows);
  const [middle] = await inParts(cached.middle, [rows[0]!], isEven ? undefined : Number.POSITIVE_INFINITY);
  return { features, middle: middle!, inShares: cached.inShares === true };
}

const alone = (start: () => Promise<Record<string, never>>): Run => ({ isAlone: true, start });

/** Runs without samples, to match the rank with the most pieces. */
const idle = (count: number, [first]: readonly PartRuns[]): Run[] =>
  Array.from({ length: count }, () => alone(() => first!.idle()));

const summedRuns =
  (steps: readonly PartRuns[], missing: number, updating: (store: Store) => readonly Run[]): Phases["runs"] =>
  (store, micro, feeds) => {
    const run = alone(() => steps[micro]!.run(store, feeds));
    return micro === steps.length - 1 ? [run, ...idle(missing, steps), ...updating(store)] : [run];
  };

/**
 * Features of all micro-batches first; after the last, the loss, and then the gradients of each from the same feeds.
 */
function cachedRuns(
  { features, middle, inShares, steps }: CachedParts,
  { share, gather, addRows }: Divided,
  updating: (store: Store) => readonly Run[],
): Phases["runs"] {
  const missing = share.most - steps.length;
  let held: Feeds[] = [];
  return (store, micro, feeds) => {
    const first = alone(() => features[micro]!.run(store, feeds));
    held = micro === 0 ? [feeds] : [...held, feeds];
    if (micro < steps.length - 1) return [first];
    const again = held.map((batch, i) => alone(() => steps[i]!.run(store, batch)));
    held = [];
    return [
      first,
      ...idle(missing, features),
      alone(() => gather(store).then(() => ({}))),
      ...new Array<Run>(inShares ? steps.length : 1).fill(alone(() => middle.run(store, feeds))),
      ...(addRows ? [alone(() => addRows(store).then(() => ({})))] : []),
      ...again,
      ...idle(missing, steps),
      ...updating(store),
    ];
  };
}
