/** Bookkeeping of a cache: which slots hold a token of each row, and the position of each row's next token. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";

export interface CachePlaces {
  readonly capacity: number;
  /** Slots that are occupied in any row. */
  readonly filled: number;
  /**
   * Occupies the next slots with the given number of tokens of each row, leaving holes in rows that have fewer than
   * others.
   */
  take(tokens: readonly number[]): void;
  /** Replaces row i by row `rows[i]`. */
  reorder(rows: readonly number[]): void;
  grow(capacity: number): void;
  clear(): void;
  /** i32 [batch, token = size]: the positions of each row's next tokens in its text. */
  positions(size: number): HostTensor;
  /** i32 [batch, key = capacity]: 1 at the slots of each row's tokens, including the next `tokens[row]`. */
  mask(tokens: readonly number[], keyAxis: string): HostTensor;
}

export function cachePlaces(rows: number, firstCapacity: number): CachePlaces {
  let capacity = firstCapacity;
  let filled = 0;
  let taken = Array.from({ length: rows }, () => new Uint8Array(capacity));
  let counts = taken.map(() => 0);
  const batch = { name: "batch", size: rows };
  return {
    get capacity() {
      return capacity;
    },
    get filled() {
      return filled;
    },
    take(tokens) {
      for (const [row, count] of tokens.entries()) taken[row]!.fill(1, filled, filled + count);
      counts = counts.map((count, row) => count + tokens[row]!);
      filled += Math.max(...tokens);
    },
    reorder(order) {
      taken = order.map((row) => taken[row]!.slice());
      counts = order.map((row) => counts[row]!);
    },
    grow(larger) {
      taken = taken.map((places) => {
        const more = new Uint8Array(larger);
        more.set(places);
        return more;
      });
      capacity = larger;
    },
    clear() {
      filled = 0;
      counts.fill(0);
      for (const places of taken) places.fill(0);
    },
    positions(size) {
      const data = Int32Array.from({ length: rows * size }, (_, i) => counts[Math.floor(i / size)]! + (i % size));
      return hostTensor("i32", [batch, { name: "token", size }], data);
    },
    mask(tokens, keyAxis) {
      const data = new Int32Array(rows * capacity);
      for (const [row, places] of taken.entries()) {
        const own = data.subarray(row * capacity, (row + 1) * capacity);
        own.set(places);
        own.fill(1, filled, filled + tokens[row]!);
      }
      return hostTensor("i32", [batch, { name: keyAxis, size: capacity }], data);
    },
  };
}
