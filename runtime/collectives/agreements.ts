/** Agreement between ranks on JSON values, sent over their collectives. */
import type { Collectives } from "./collectives.ts";

export interface Agreements {
  /**
   * Broadcasts the result of rank 0's `find`, which must be JSON, to all ranks. An exception in `find` ends all ranks.
   */
  decide<T>(find: () => T | Promise<T>): Promise<T>;
  /** Gathers every rank's value, which must be JSON, in rank order. */
  tell<T>(own: T): Promise<readonly T[]>;
}

export function agreements(collectives: Collectives): Agreements {
  const { rank, size } = collectives;
  const isFirst = rank === 0;
  const tell = telling(collectives);
  const decide = async <T>(find: () => T | Promise<T>): Promise<T> => {
    if (size === 1) return await find();
    const text = isFirst ? encoded(await find()) : new Uint8Array(0);
    const length = Int32Array.of(text.length);
    await collectives.broadcast(length, 0);
    const bytes = isFirst ? text : new Uint8Array(length[0]!);
    await collectives.broadcast(bytes, 0);
    return decoded(bytes) as T;
  };
  return { decide, tell };
}

/** Builds `tell` from two all-gathers, one of the lengths and one of the encoded values. */
export const telling =
  ({ rank, size, allGather }: Pick<Collectives, "rank" | "size" | "allGather">): Agreements["tell"] =>
  async (own) => {
    if (size === 1) return [own];
    const text = encoded(own);
    const lengths = new Int32Array(size);
    lengths[rank] = text.length;
    await allGather(
      lengths,
      Array.from(lengths, (_, r) => ({ from: r, to: r + 1 })),
    );
    const ends = [...lengths].map((_, r) => lengths.subarray(0, r + 1).reduce((a, b) => a + b, 0));
    const ranges = ends.map((to, r) => ({ from: to - lengths[r]!, to }));
    const bytes = new Uint8Array(ends.at(-1)!);
    bytes.set(text, ranges[rank]!.from);
    await allGather(bytes, ranges);
    return ranges.map(({ from, to }) => decoded(bytes.subarray(from, to)) as typeof own);
  };

/** Wrapped in an object, since JSON cannot represent undefined on its own. */
const encoded = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify({ value }));
const decoded = (bytes: Uint8Array): unknown =>
  (JSON.parse(new TextDecoder().decode(bytes)) as { value: unknown }).value;
