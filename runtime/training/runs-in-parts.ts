/** The runs of a step whose graphs are split into parts, because gradients, or weights too, are sharded. */
import type { Executable, Store } from "../../backends/backend.ts";
import { type Graph, type HostTensor, halvesInMemory, type Sizes } from "../../compiler/index.ts";
import { cutGraph, handedOn, partsOptions, stepParts } from "../sharding/graph-parts.ts";
import { type DividedState, type PartRuns, partRuns } from "../sharding/part-runs.ts";
import type { TrainingJob } from "./job.ts";
import type { Between, Phases, Run } from "./runs.ts";
import { lengthOf } from "./share.ts";

type Feeds = Readonly<Record<string, HostTensor>>;
type Compile = (graph: Graph, options?: { sizes?: Sizes }) => Promise<Executable>;

/** All ranks do the same number of runs: some of them idle, without samples. */
export async function runsInParts(
  job: TrainingJob,
  { share, divided, gather, addRows }: Between & { readonly divided: DividedState },
  compile: Compile,
  isHalf: boolean,
  updating: (store: Store) => readonly Run[],
): Promise<Pick<Phases, "runs" | "prepare">> {
  const { graph, accumulation } = job.step;
  const { cached, shared } = accumulation!;
  const places = handedOn();
  const options = partsOptions(shared!.shard!.divided!);
  const cutAt = { ...job.sizes, [share.symbol]: share.rows };
  const inParts = async (
    graph: Graph,
    rows: readonly number[],
    most = divided.partBytes,
  ): Promise<readonly PartRuns[]> => {
    const cut = cutGraph(graph, most, cutAt, options.given);
    const halves = isHalf ? halvesInMemory(cut.whole) : undefined;
    const bySize = new Map<number, PartRuns>();
    for (const n of new Set(rows)) {
      const sizes = { ...job.sizes, [share.symbol]: n };
      bySize.set(
        n,
        await partRuns(
          stepParts(cut, job.step, sizes, places, { ...options, ...(halves && { halves }) }),
          divided,
          (part) => compile(part, { sizes }),
        ),
      );
    }
    return rows.map((n) => bySize.get(n)!);
  };
  const rows = share.pieces.map(lengthOf);
  // Where the sizes of `middle` differ between ranks, so might its cuts: there it is one part.
  const isEven = new Set(share.ofRanks.map(({ from, to }) => to - from)).size === 1;
  const [features, middle] = cached
    ? [
        await inParts(cached.features, rows),
        await inParts(cached.middle, [rows[0]!], isEven ? undefined : Number.POSITIVE_INFINITY),
      ]
    : [];
  const steps = await inParts(graph, rows);
  const alone = (start: () => Promise<Record<string, never>>): Run => ({ isAlone: true, start });
  /** Idle runs, to match the rank with the most pieces. */
  const idle = (of: readonly PartRuns[]): Run[] =>
    Array.from({ length: share.most - rows.length }, () => alone(() => of[0]!.idle()));
  const ends = (micro: number) => micro === rows.length - 1;
  const prepare = (store: Store) => places.write(store);
  if (!features)
    return {
      prepare,
      runs: (store, micro, feeds) => [
        alone(() => steps[micro]!.run(store, feeds)),
        ...(ends(micro) ? [...idle(steps), ...updating(store)] : []),
      ],
    };
  let held: Feeds[] = [];
  return {
    prepare,
    runs: (store, micro, feeds) => {
      const first = alone(() => features[micro]!.run(store, feeds));
      held = micro === 0 ? [feeds] : [...held, feeds];
      if (!ends(micro)) return [first];
      const again = held.map((batch, i) => alone(() => steps[i]!.run(store, batch)));
      held = [];
      return [
        first,
        ...idle(features),
        alone(() => gather(store).then(() => ({}))),
        alone(() => middle![0]!.run(store, feeds)),
        ...(addRows ? [alone(() => addRows(store).then(() => ({})))] : []),
        ...again,
        ...idle(steps),
        ...updating(store),
      ];
    },
  };
}
