/** What ranks agree on in words: JSON carried by their collectives. */
import type { Collectives } from "./collectives.ts";

export interface Agreements {
  /** What rank 0 finds, on all ranks; it must be JSON. Where it throws, that ends all. */
  decide<T>(find: () => T | Promise<T>): Promise<T>;
  /** What every rank says, in their order; it must be JSON. */
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

/** Tells by a gather of lengths and one of words. */
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

/** JSON has no undefined, which is a thing to find. */
const encoded = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify({ value }));
const decoded = (bytes: Uint8Array): unknown =>
  (JSON.parse(new TextDecoder().decode(bytes)) as { value: unknown }).value;
