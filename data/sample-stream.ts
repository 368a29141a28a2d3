/** An endless stream of one source's samples, in a shuffled order that can be resumed anywhere. */
import { FileError } from "../compiler/index.ts";
import type { OnSkip } from "./files.ts";
import { streams } from "./order.ts";
import { type Random, seededRandom, shuffled } from "./random.ts";
import type { RawSample } from "./samples.ts";
import type { Part, Source } from "./sources/source.ts";

/**
 * The position of a stream: the epoch, whose parts are shuffled; the window, by the position of its first part in that
 * order; and the sample `at` within the window.
 */
export interface StreamPlace {
  readonly epoch: number;
  readonly window: number;
  readonly at: number;
}

export const streamStart: StreamPlace = { epoch: 0, window: 0, at: 0 };

/** A sample's location: its source, epoch, part and index in the part. */
export type SampleRef = readonly [source: number, epoch: number, part: number, index: number];

/** The next sample, not yet read. */
export interface Upcoming {
  readonly ref: SampleRef;
  readonly next: StreamPlace;
  /** Its name in messages. */
  readonly name: string;
  readonly read: () => Promise<RawSample>;
}

export interface StreamOptions {
  readonly seed: number;
  /** Minimum samples per window (the shuffle buffer), if the source has as many. */
  readonly buffer: number;
  readonly onSkip: OnSkip;
  /** Called when the second epoch begins. */
  readonly note: (text: string) => void;
}

/** Minimum parts per window, since parts are often sorted by the origin of their samples. */
const mixedParts = 4;

/** A source with at most this many parts keeps them open. */
const keptParts = 4;

/** The parts of a window, in the epoch's order, and where the next window begins. */
interface OpenWindow {
  readonly parts: readonly { readonly part: number; readonly opened: Part }[];
  readonly count: number;
  readonly next: number;
}

/** A source whose parts are opened on demand. */
export class SampleStream {
  readonly source: Source;
  /** The source's position among the sources, of which its random streams depend. */
  readonly #number: number;
  readonly #options: StreamOptions;
  readonly #kept = new Map<number, Promise<Part>>();

  constructor(source: Source, number: number, options: StreamOptions) {
    this.source = source;
    this.#number = number;
    this.#options = options;
  }

  /** The number of samples, including broken ones, if it is available without extra reading; otherwise undefined. */
  async count(): Promise<number | undefined> {
    const { isListed, parts } = this.source;
    if (!isListed && parts.length > keptParts) return undefined;
    const opened = await Promise.all(parts.map(async (_, part) => await this.#open(part)));
    return opened.reduce((sum, { count }) => sum + count, 0);
  }

  /** A sample by its reference. */
  async again(ref: SampleRef): Promise<Omit<Upcoming, "next">> {
    const [, , part, index] = ref;
    const opened = part < this.source.parts.length ? await this.#open(part) : undefined;
    if (!opened || index >= opened.count)
      throw new FileError(
        `${this.source.spec} changed since the checkpoint was saved: some of its samples are missing`,
      );
    return unread(opened, ref);
  }

  /** Every sample once, in stored order. */
  async *inOrder(): AsyncGenerator<Omit<Upcoming, "next">, void, undefined> {
    for (const part of this.source.parts.keys()) {
      const opened = await this.#open(part);
      for (let index = 0; index < opened.count; index += 1) yield unread(opened, [this.#number, 0, part, index]);
    }
  }

  /**
   * Epoch after epoch. The order depends only on the seed, the epoch, and the sizes of the parts; resuming at a
   * position opens no part before its window.
   */
  async *from(place: StreamPlace): AsyncGenerator<Upcoming, void, undefined> {
    const { spec } = this.source;
    let from: StreamPlace = place;
    while (true) {
      const isWhole = from.window === 0;
      const found = yield* this.#epoch(from);
      if (found === 0 && isWhole) throw new FileError(`${spec} has no samples`);
      from = { epoch: from.epoch + 1, window: 0, at: 0 };
      if (from.epoch === 1)
        this.#options.note(`epoch 2 of ${spec} begins${isWhole ? `: it has ${amount(found)}` : ""}`);
    }
  }

  /** The rest of an epoch; returns the number of samples in its windows. */
  async *#epoch({ epoch, window: first, at: start }: StreamPlace): AsyncGenerator<Upcoming, number, undefined> {
    const order = shuffled(this.source.parts.length, this.#random(epoch));
    let ahead: Promise<OpenWindow> | undefined;
    let [window, at, found] = [first, start, 0];
    while (window < order.length) {
      const { parts, count, next } = await (ahead ?? this.#openWindow(order, window));
      ahead = undefined;
      const samples = shuffled(count, this.#random(epoch, window + 1));
      const starts = startsOf(parts.map(({ opened }) => opened.count));
      found += count;
      for (; at < count; at += 1) {
        if (2 * at >= count && next < order.length) {
          ahead ??= this.#openWindow(order, next); // opened while the second half is used
          ahead.catch(() => {}); // reported in its turn
        }
        const { part: place, index } = placed(starts, samples[at]!);
        const { opened, part } = parts[place]!;
        const after = at + 1 < count ? { epoch, window, at: at + 1 } : { epoch, window: next, at: 0 };
        yield { ...unread(opened, [this.#number, epoch, part, index]), next: after };
      }
      [window, at] = [next, 0];
    }
    return found;
  }

  #random(...keys: readonly number[]): Random {
    return seededRandom(this.#options.seed, streams.order, this.#number, ...keys);
  }

  #open(part: number): Promise<Part> {
    const opened = this.#kept.get(part) ?? this.source.open(part, this.#options.onSkip);
    if (this.source.parts.length <= keptParts) this.#kept.set(part, opened);
    return opened;
  }

  async #openWindow(order: Uint32Array, window: number): Promise<OpenWindow> {
    const parts: OpenWindow["parts"][number][] = [];
    let [count, next] = [0, window];
    while (next < order.length && (count < this.#options.buffer || parts.length < mixedParts)) {
      const part = order[next]!;
      const opened = await this.#open(part);
      parts.push({ part, opened });
      count += opened.count;
      next += 1;
    }
    return { parts, count, next };
  }
}

const unread = (opened: Part, ref: SampleRef): Omit<Upcoming, "next"> => {
  const [, , , index] = ref;
  return { ref, name: opened.name(index), read: () => opened.read(index) };
};

/** "1 sample", "1,234 samples". */
export const amount = (count: number): string => `${count.toLocaleString("en")} sample${count === 1 ? "" : "s"}`;

function startsOf(counts: readonly number[]): readonly number[] {
  let sum = 0;
  return counts.map((count) => {
    sum += count;
    return sum - count;
  });
}

/** The part of a window that contains a sample, and the index within it. */
function placed(starts: readonly number[], sample: number): { readonly part: number; readonly index: number } {
  let part = starts.length - 1;
  while (starts[part]! > sample) part -= 1;
  return { part, index: sample - starts[part]! };
}
