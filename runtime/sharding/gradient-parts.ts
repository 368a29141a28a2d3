/**
 * Sharded gradients: each rank keeps the sums only for its ranges of the arenas. Rajbhandari et al. 2020, section 5.2.
 */
import type { Store } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, InternalError } from "../../compiler/index.ts";
import { beside, type Collectives, type Range, rangesOf } from "../collectives/index.ts";
import type { CompiledStep } from "../training/job.ts";
import { packedRanges, rangesWithin } from "./shard.ts";

export interface GradientParts {
  /**
   * Reduce-scatters some gradients, by parameter, as soon as they are available; returns at once. All ranks make the
   * same calls in the same order; a rank with nothing to add passes undefined, and the names.
   */
  add(names: readonly string[], gradients: Promise<Readonly<Record<string, HostTensor>>> | undefined): void;
  /** Resolves when everything added so far is summed; ranks must exchange nothing else before that. */
  settled(): Promise<void>;
  /**
   * Once everything is summed, writes the sums where the update reads them, and resets them. Returns the sum of their
   * squares.
   */
  store(store: Store): Promise<number>;
  /** Seconds of gradient exchange that overlapped with computation. */
  besideSeconds(): number;
  /** Host memory used by the sums, in bytes. */
  readonly bytes: number;
}

/** Where a parameter lies in its arena, and which elements of it each rank owns. */
interface Place {
  readonly arena: number;
  readonly offset: number;
  readonly length: number;
  readonly ranges: readonly Range[];
}

export function gradientParts(step: CompiledStep, collectives: Collectives): GradientParts {
  const { rank, size } = collectives;
  const { gradients: parts } = step.accumulation!.shared!.shard!;
  const places = new Map<string, Place>();
  for (const [arena, { layout }] of step.arenas.entries())
    for (const { name, offset, length } of layout.entries)
      places.set(name, { arena, offset, length, ranges: rangesWithin(layout.size, size, offset, length) });
  const own = step.arenas.map(({ layout }) => rangesOf(layout.size, size)[rank]!);
  const sums = own.map(({ from, to }) => new Float32Array(to - from));
  const placeOf = (name: string): Place => {
    const found = places.get(name);
    if (!found) throw new InternalError(`"${name}" is given a gradient but is not trained`);
    return found;
  };

  const reduce = async (names: readonly string[], given: Readonly<Record<string, HostTensor>> | undefined) => {
    const tensors = names.map(placeOf);
    const ranges = packedRanges(
      tensors.map((t) => t.ranges),
      size,
    );
    const packed = new Float32Array(ranges.at(-1)!.to);
    let at = 0;
    for (let r = 0; r < size; r++)
      for (const [i, place] of tensors.entries()) {
        const { from, to } = place.ranges[r]!;
        const data = given && given[names[i]!]!.data;
        if (data) for (let k = from; k < to; k++) packed[at + k - from] = data[k]!;
        at += to - from;
      }
    await collectives.reduceScatter(packed, ranges);
    at = ranges[rank]!.from;
    for (const { arena, offset, ranges } of tensors) {
      const { from, to } = ranges[rank]!;
      const sum = sums[arena]!;
      const first = offset + from - own[arena]!.from;
      for (let k = 0; k < to - from; k++) sum[first + k]! += packed[at + k]!;
      at += to - from;
    }
  };

  const exchanges = beside();
  const { settled } = exchanges;
  return {
    settled,
    add: (names, gradients) => {
      if (names.length > 0) exchanges.add(Promise.resolve(gradients), (given) => reduce(names, given));
    },
    store: async (store) => {
      await settled();
      let squares = 0;
      for (const [i, sum] of sums.entries()) {
        if (sum.length === 0) continue;
        for (let k = 0; k < sum.length; k++) squares += sum[k]! * sum[k]!;
        await store.write(parts[i]!.part, hostTensor("f32", [{ name: "arena", size: sum.length }], sum.slice()));
        sum.fill(0);
      }
      return squares;
    },
    besideSeconds: exchanges.seconds,
    bytes: sums.reduce((n, s) => n + s.byteLength, 0),
  };
}
