/** Collective operations of cooperating processes, independent of the transport. */

/** Element types that can be summed or gathered over ranks. f16 is accumulated in f64 and rounded once, like f32. */
export type Numbers = Float32Array | Int32Array | Float16Array;

/** The half-open range of elements [from, to). */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Time and volume of this rank's communication so far. */
export interface Traffic {
  /**
   * Bytes of tensors that this rank sent to others. Of a broadcast, its root counts what all others receive, whichever
   * ranks the library passes it on through.
   */
  readonly sentBytes: number;
  /** Seconds during which an operation was in flight. */
  readonly seconds: number;
}

/**
 * Collective operations. Every rank calls the same ones in the same order. Each starts at once and resolves when this
 * rank is done with it, so that other work can overlap. Tensors are modified in place and must not be touched until
 * then. All operations reject with the same error once a rank is known to have ended.
 */
export interface Collectives {
  readonly rank: number;
  readonly size: number;
  /** This rank among those on its machine. */
  readonly node: { readonly rank: number; readonly size: number };
  /** The transport, for display: "Open MPI 4.1.4". */
  readonly carrier: string;
  /** Copies `root`'s data to all ranks. */
  broadcast(data: Numbers | Uint8Array, root: number): Promise<void>;
  /** The sum over ranks, bit-identical on all of them. */
  allReduce(data: Numbers): Promise<void>;
  /** The sum over ranks, within this rank's range only; the contents elsewhere are unspecified. */
  reduceScatter(data: Numbers, ranges: readonly Range[]): Promise<void>;
  /** Fills every rank's range with that rank's data. */
  allGather(data: Numbers | Uint8Array, ranges: readonly Range[]): Promise<void>;
  /** Gives every rank its range of `root`'s data; the others pass an array as long as their range. */
  scatter(data: Uint8Array, ranges: readonly Range[], root: number): Promise<void>;
  /** Resolves when all ranks have reached it. */
  barrier(): Promise<void>;
  /**
   * A channel whose gathers are ordered independently of all other operations, for reading ahead. Ranks use the same
   * number for the same purpose, and each number only once.
   */
  channel(number: number): Channel;
  traffic(): Traffic;
  /** Shuts down, once all ranks do. */
  dispose(): Promise<void>;
}

export interface Channel extends Pick<Collectives, "rank" | "size" | "allGather"> {
  /** Abandons operations in flight, which the other ranks may never join. */
  close(): void;
}

/** Ranges of ranks begin at multiples of this many elements: 256 bytes of f32, the alignment of arenas. */
const rangeAlignment = 64;

/** Divides `count` elements among ranks as evenly as whole multiples of the alignment allow. */
export function rangesOf(count: number, size: number, alignment = rangeAlignment): Range[] {
  const units = Math.ceil(count / alignment);
  const border = (rank: number) => Math.min(Math.floor((units * rank) / size) * alignment, count);
  return Array.from({ length: size }, (_, rank) => ({
    from: border(rank),
    to: rank + 1 === size ? count : border(rank + 1),
  }));
}
