/**
 * Sharded gradients: each rank keeps the sums only for its ranges of the arenas. Rajbhandari et al. 2020, section 5.2.
 */
import type { Store } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, InternalError } from "../../compiler/index.ts";
import { beside, type Collectives, type Range, rangesOf } from "../collectives/index.ts";
import type { CompiledStep } from "../training/job.ts";
import { packedRanges, rangesWithin } from "./shard.ts";

/** Where a parameter lies in its arena, and which elements of it each rank owns. */
interface Place {
  readonly arena: number;
  readonly offset: number;
  readonly length: number;
  readonly ranges: readonly Range[];
}

type Gradients = Readonly<Record<string, HostTensor>>;

export class GradientParts {
  readonly #collectives: Collectives;
  readonly #places: ReadonlyMap<string, Place>;
  /** This rank's range of each arena. */
  readonly #own: readonly Range[];
  readonly #sums: readonly Float32Array[];
  /** The states that the update reads the sums from, by arena. */
  readonly #states: readonly { readonly part: string }[];
  readonly #exchanges = beside();

  constructor(step: CompiledStep, collectives: Collectives) {
    const { rank, size } = collectives;
    this.#collectives = collectives;
    this.#states = step.accumulation!.shared!.shard!.gradients;
    this.#places = placesOf(step, size);
    this.#own = step.arenas.map(({ layout }) => rangesOf(layout.size, size)[rank]!);
    this.#sums = this.#own.map(({ from, to }) => new Float32Array(to - from));
  }

  /** Host memory used by the sums, in bytes. */
  get bytes(): number {
    return this.#sums.reduce((n, s) => n + s.byteLength, 0);
  }

  /**
   * Reduce-scatters some gradients, by parameter, as soon as they are available; returns at once. All ranks make the
   * same calls in the same order; a rank with nothing to add passes undefined, and the names.
   */
  add(names: readonly string[], gradients: Promise<Gradients> | undefined): void {
    if (names.length > 0) this.#exchanges.add(Promise.resolve(gradients), (given) => this.#reduce(names, given));
  }

  /** Resolves when everything added so far is summed; ranks must exchange nothing else before that. */
  settled(): Promise<void> {
    return this.#exchanges.settled();
  }

  /** Seconds of gradient exchange that overlapped with computation. */
  besideSeconds(): number {
    return this.#exchanges.seconds();
  }

  /**
   * Once everything is summed, writes the sums where the update reads them, and resets them. Returns the sum of their
   * squares.
   */
  async store(store: Store): Promise<number> {
    await this.settled();
    let squares = 0;
    for (const [i, sum] of this.#sums.entries()) {
      if (sum.length === 0) continue;
      for (let k = 0; k < sum.length; k++) squares += sum[k]! * sum[k]!;
      await store.write(this.#states[i]!.part, hostTensor("f32", [{ name: "arena", size: sum.length }], sum.slice()));
      sum.fill(0);
    }
    return squares;
  }

  async #reduce(names: readonly string[], given: Gradients | undefined): Promise<void> {
    const { rank, size } = this.#collectives;
    const tensors = names.map((name) => this.#placeOf(name));
    const ranges = packedRanges(
      tensors.map((t) => t.ranges),
      size,
    );
    const packed = new Float32Array(ranges.at(-1)!.to);
    if (given)
      pack(
        packed,
        tensors,
        names.map((name) => given[name]!.data),
        size,
      );
    await this.#collectives.reduceScatter(packed, ranges);
    this.#addOwn(packed, ranges[rank]!.from, tensors);
  }

  /** Adds this rank's elements of the tensors, which lie one after the other from `at` on, to the sums. */
  #addOwn(packed: Float32Array, at: number, tensors: readonly Place[]): void {
    for (const { arena, offset, ranges } of tensors) {
      const { from, to } = ranges[this.#collectives.rank]!;
      const sum = this.#sums[arena]!;
      const first = offset + from - this.#own[arena]!.from;
      for (let k = 0; k < to - from; k++) sum[first + k]! += packed[at + k]!;
      at += to - from;
    }
  }

  #placeOf(name: string): Place {
    const found = this.#places.get(name);
    if (!found) throw new InternalError(`"${name}" is given a gradient but is not trained`);
    return found;
  }
}

function placesOf({ arenas }: CompiledStep, ranks: number): ReadonlyMap<string, Place> {
  const places = new Map<string, Place>();
  for (const [arena, { layout }] of arenas.entries())
    for (const { name, offset, length } of layout.entries)
      places.set(name, { arena, offset, length, ranges: rangesWithin(layout.size, ranks, offset, length) });
  return places;
}

/** Writes what each rank owns of all tensors one rank after the other. */
function pack(
  packed: Float32Array,
  tensors: readonly Place[],
  data: readonly HostTensor["data"][],
  ranks: number,
): void {
  let at = 0;
  for (let rank = 0; rank < ranks; rank++)
    for (const [i, place] of tensors.entries()) {
      const { from, to } = place.ranges[rank]!;
      const source = data[i]!;
      for (let k = from; k < to; k++) packed[at + k - from] = source[k]!;
      at += to - from;
    }
}
