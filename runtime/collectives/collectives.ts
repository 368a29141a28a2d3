/** What processes that work together say to each other: one interface, whatever carries it. */

/** Numbers that are added up over ranks, or gathered. Halves are added in f64 and rounded once, as f32 is. */
export type Numbers = Float32Array | Int32Array | Float16Array;

/** Elements from `from` up to `to`, which is not among them. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Time and volume of what this rank said and heard so far. */
export interface Traffic {
  /** Bytes of tensors that this rank sent to others. */
  readonly sentBytes: number;
  /** Seconds in which an operation was under way. */
  readonly seconds: number;
}

/**
 * Operations of all ranks together. Every rank calls the same ones in the same order; each begins at once and resolves when
 * this rank is done with it, so that other work goes on meanwhile. Tensors are not to be touched until then. They are
 * changed in place. All reject with one error once a rank is known to have ended.
 */
export interface Collectives {
  readonly rank: number;
  readonly size: number;
  /** This rank's place among those on its machine. */
  readonly node: { readonly rank: number; readonly size: number };
  /** What carries it, for people: "Open MPI 4.1.4". */
  readonly carrier: string;
  /** Gives all ranks what `root` has. */
  broadcast(data: Numbers | Uint8Array, root: number): Promise<void>;
  /** The sum over ranks, the same bits on all of them. */
  allReduce(data: Numbers): Promise<void>;
  /** The sum over ranks, within this rank's range alone; what is elsewhere then is anything. */
  reduceScatter(data: Numbers, ranges: readonly Range[]): Promise<void>;
  /** Fills every rank's range with what that rank has there. */
  allGather(data: Numbers | Uint8Array, ranges: readonly Range[]): Promise<void>;
  /** Gives every rank its range of what `root` has; others hand in what is as long as their range. */
  scatter(data: Uint8Array, ranges: readonly Range[], root: number): Promise<void>;
  /** Resolves when all ranks have come here. */
  barrier(): Promise<void>;
  /**
   * Gathers that have an order of their own, beside all other operations: for what is read ahead. Ranks give one purpose one
   * number, and no number twice.
   */
  channel(number: number): Channel;
  traffic(): Traffic;
  /** Leaves the others, once all of them do. */
  dispose(): Promise<void>;
}

export interface Channel extends Pick<Collectives, "rank" | "size" | "allGather"> {
  /** Gives up what is under way: others may never come to it. */
  close(): void;
}

/** Ranges of ranks begin at multiples of this many elements: 256 bytes of f32, the alignment of arenas. */
const rangeAlignment = 64;

/** `count` elements divided among ranks as evenly as whole multiples of the alignment allow. */
export function rangesOf(count: number, size: number, alignment = rangeAlignment): Range[] {
  const units = Math.ceil(count / alignment);
  const border = (rank: number) => Math.min(Math.floor((units * rank) / size) * alignment, count);
  return Array.from({ length: size }, (_, rank) => ({
    from: border(rank),
    to: rank + 1 === size ? count : border(rank + 1),
  }));
}
