/** How ranks share a step: which rows of the global batch each computes, and in which micro-batches. */
import {
  dimValue,
  inputName,
  isFeed,
  loneSymbol,
  type Node,
  type Sizes,
  sourceOf,
  symbolsOf,
  UsageError,
} from "../../compiler/index.ts";
import { type Range, rangesOf } from "../collectives/index.ts";
import { exchangedAtOnce, type Shard, usualPartBytes } from "../sharding/shard.ts";
import type { CompiledStep, TrainingJob } from "./job.ts";

/** Rows of one of the job's batches that a rank computes in one run. */
export interface Piece {
  /** The index of the batch within the step. */
  readonly batch: number;
  readonly from: number;
  readonly to: number;
}

export interface Share {
  /** Batches of the job per step, and the rows of each. */
  readonly batches: number;
  readonly rows: number;
  /** The size symbol of the rows. */
  readonly symbol: string;
  /** This rank's pieces. */
  readonly pieces: readonly Piece[];
  /** The rows of the step that each rank has, in their order. */
  readonly ofRanks: readonly Range[];
  /** This rank's first row of the step. */
  readonly first: number;
  /** The largest number of pieces of any rank. */
  readonly most: number;
}

/** A rank's pieces, and the number over all ranks. */
interface Pieces {
  readonly pieces: readonly Piece[];
  /** The index of the rank's first piece among those of all ranks. */
  readonly first: number;
  readonly count: number;
  readonly most: number;
  readonly isUneven: boolean;
}

/** The pieces of a rank: its rows, split at batch boundaries. All pieces have the same size if R divides the rows. */
export function piecesOf(batches: number, rows: number, rank: number, size: number): Pieces {
  const all = batches * rows;
  const most = all % size === 0 ? greatestDivisor(rows, all / size) : rows;
  const cut = ({ from, to }: Range): Piece[] => {
    const found: Piece[] = [];
    for (let at = from; at < to; ) {
      const batch = Math.floor(at / rows);
      const end = Math.min(at + most, to, (batch + 1) * rows);
      found.push({ batch, from: at - batch * rows, to: end - batch * rows });
      at = end;
    }
    return found;
  };
  const cuts = rowsOfRanks(all, size).map(cut);
  const counts = cuts.map((pieces) => pieces.length);
  const sum = (list: readonly number[]) => list.reduce((a, b) => a + b, 0);
  const isUneven = all % size !== 0;
  const first = sum(counts.slice(0, rank));
  return { pieces: cuts[rank]!, first, count: sum(counts), most: Math.max(...counts), isUneven };
}

/** Rank r of R has the rows from all·r/R to all·(r+1)/R of a step. */
function rowsOfRanks(all: number, size: number): Range[] {
  const border = (rank: number) => Math.floor((all * rank) / size);
  return Array.from({ length: size }, (_, rank) => ({ from: border(rank), to: border(rank + 1) }));
}

/** The rank that computes a row of a step with `all` rows. */
export const rankOfRow = (all: number, row: number, size: number): number => Math.ceil(((row + 1) * size) / all) - 1;

const greatestDivisor = (a: number, b: number): number => (b === 0 ? a : greatestDivisor(b, a % b));

/**
 * The job of one of several ranks: its share of the step, compiled for the size of its first piece. Throws UsageError
 * for a step that cannot be shared.
 */
export function sharedJob(
  job: TrainingJob,
  rank: number,
  size: number,
  shard?: Shard,
  partBytes: number = usualPartBytes,
): { readonly job: TrainingJob; readonly share: Share } {
  const { step } = job;
  const batches = step.accumulation?.count ?? 1;
  const symbol = sampleSymbol(step);
  const rows = job.sizes[symbol]!;
  if (batches * rows < size)
    throw new UsageError(
      `a step has ${batches * rows} samples, too few for ${size} ranks: set batch to at least ${Math.ceil(size / batches)}, or start fewer ranks`,
    );
  const { pieces, first, count, most, isUneven } = piecesOf(batches, rows, rank, size);
  const ofRanks = rowsOfRanks(batches * rows, size);
  const { from, to } = ofRanks[rank]!;
  if (step.apart && pieces.some((piece) => lengthOf(piece) !== rows))
    throw new UsageError(
      `@${step.graph.name} is fed rows that refer to others of their batch, so each of ${size} ranks needs whole batches: accumulate must be a multiple of ${size}, got ${batches}`,
    );
  const uneven = isUneven && { uneven: { all: batches * rows, from, to } };
  const batchesOf = { count, own: { first, count: pieces.length }, ...uneven };
  const parted = sharedStep(step, { rank, size, shard, partBytes }, batchesOf);
  const sizes = { ...job.sizes, [symbol]: lengthOf(pieces[0]!) };
  const share = { batches, rows, symbol, pieces, ofRanks, first: from, most };
  return { job: { ...job, step: parted, sizes }, share };
}

/** One of several ranks, and what is sharded among them. */
export interface RankOfStep {
  readonly rank: number;
  readonly size: number;
  readonly shard?: Shard | undefined;
  /** Bytes of weights, and of gradients, that are gathered at once when they are sharded. */
  readonly partBytes?: number;
}

/**
 * The step of a rank, which computes its share of the micro-batches. Throws UsageError for one that cannot be shared.
 */
export function sharedStep(
  step: CompiledStep,
  { rank, size, shard, partBytes = usualPartBytes }: RankOfStep,
  batches: Pick<Parameters<NonNullable<CompiledStep["inParts"]>>[0], "count" | "uneven" | "own">,
): CompiledStep {
  const { inParts, arenas, graph } = step;
  if (!inParts)
    throw new UsageError(`${size} ranks need a step compiled by "trainingStep": @${graph.name} has no inParts`);
  const own = (elements: number) => rangesOf(elements, size)[rank]!;
  const isDivided = shard !== undefined && shard !== "optimizer";
  const gradients = arenas.reduce((n, { layout }) => n + 4 * layout.size, 0);
  // Arenas have the size of parts, so that every rank sends and receives equal amounts in each part.
  const ofPart = isDivided ? partBytes : exchangedAtOnce(gradients, partBytes);
  const divided = { largestArena: Math.ceil(ofPart / 4), ...(isDivided && { divided: shard }) };
  return explaining(size, () => inParts({ ...batches, ...(shard && { shard: own }), ...divided }));
}

/** A step that cannot be accumulated cannot be shared either; the error of the former is extended. */
function explaining<T>(size: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new UsageError(`${size} ranks compute parts of a batch, as accumulate does: ${error.message}`);
  }
}

export const lengthOf = ({ from, to }: Piece): number => to - from;

/**
 * The size symbol of the number of samples. Inputs with several rows for a sample, such as its tiles, have multiples of
 * it.
 */
function sampleSymbol({ graph, accumulation }: CompiledStep): string {
  const inputs = [...graph.inputs, ...(accumulation?.cached?.features.inputs ?? [])].filter(isFeed);
  const axes = inputs.flatMap((n) => n.type.axes.find((a) => a.name === "batch") ?? []);
  const symbol = axes.map((axis) => loneSymbol(axis.size)).find((found) => found !== undefined);
  if (symbol) return symbol.name;
  throw new UsageError(
    `@${graph.name} is fed a fixed number of samples, which ranks cannot split: give the axis "batch" of its inputs the size symbol("batch")`,
  );
}

/** The axis of an input along which samples lie, and the number of rows per sample. */
export interface SampleAxis {
  readonly axis: string;
  readonly each: number;
  /** Whether it is the outermost axis, so that a sample is contiguous. */
  readonly isFirst: boolean;
}

/** Undefined for an input that is the same for all samples. */
export function sampleAxis(node: Node, symbol: string, sizes: Sizes): SampleAxis | undefined {
  const at = node.type.axes.findIndex((a) => symbolsOf(a.size).some((s) => s.name === symbol));
  if (at < 0) return undefined;
  const { name, size } = node.type.axes[at]!;
  const [one, two] = [1, 2].map((samples) => dimValue(size, { ...sizes, [symbol]: samples })) as [number, number];
  if (two === 2 * one) return { axis: name, each: one, isFirst: at === 0 };
  throw new UsageError(
    `"${inputName(node)}" has ${one} rows along "${name}" for one sample and ${two} for two: ranks cannot split them`,
  );
}

/** The inputs fed with each batch: data, or random values. */
export function fedInputs({ graph, accumulation }: CompiledStep, source: "input" | "random"): Node[] {
  const read = [...graph.inputs, ...(accumulation?.cached?.features.inputs ?? [])];
  return [...new Map(read.map((n) => [inputName(n), n])).values()].filter((n) =>
    source === "input" ? isFeed(n) : sourceOf(n) === source,
  );
}
