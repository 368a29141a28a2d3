/** An endless stream of one source's samples, in a shuffled order that can be resumed anywhere. */
import { FileError } from "../compiler/index.ts";
import type { OnSkip } from "./files.ts";
import { streams } from "./order.ts";
import { seededRandom, shuffled } from "./random.ts";
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

/** A source whose parts are opened on demand. */
export function streamOf(source: Source, number: number, options: StreamOptions) {
  const kept = new Map<number, Promise<Part>>();
  const openPart = (part: number): Promise<Part> => {
    const opened = kept.get(part) ?? source.open(part, options.onSkip);
    if (source.parts.length <= keptParts) kept.set(part, opened);
    return opened;
  };

  /** The parts of a window, in the epoch's order, and where the next window begins. */
  const openWindow = async (order: Uint32Array, window: number) => {
    const parts: { readonly part: number; readonly opened: Part }[] = [];
    let count = 0;
    let next = window;
    while (next < order.length && (count < options.buffer || parts.length < mixedParts)) {
      const part = order[next]!;
      const opened = await openPart(part);
      parts.push({ part, opened });
      count += opened.count;
      next += 1;
    }
    return { parts, count, next };
  };

  return {
    source,
    /** The number of samples, including broken ones, if it is available without extra reading; otherwise undefined. */
    count: async (): Promise<number | undefined> => {
      if (!source.isListed && source.parts.length > keptParts) return undefined;
      const parts = await Promise.all(source.parts.map(async (_, part) => await openPart(part)));
      return parts.reduce((sum, { count }) => sum + count, 0);
    },
    /** A sample by its reference. */
    again: async (ref: SampleRef): Promise<Omit<Upcoming, "next">> => {
      const [, , part, index] = ref;
      const opened = part < source.parts.length ? await openPart(part) : undefined;
      if (!opened || index >= opened.count)
        throw new FileError(`${source.spec} changed since the checkpoint was saved: some of its samples are missing`);
      return { ref, name: opened.name(index), read: () => opened.read(index) };
    },
    /** Every sample once, in stored order. */
    async *inOrder(): AsyncGenerator<Omit<Upcoming, "next">, void, undefined> {
      for (const part of source.parts.keys()) {
        const opened = await openPart(part);
        for (let index = 0; index < opened.count; index += 1)
          yield { ref: [number, 0, part, index], name: opened.name(index), read: () => opened.read(index) };
      }
    },
    /**
     * Epoch after epoch. The order depends only on the seed, the epoch, and the sizes of the parts; resuming at a
     * position opens no part before its window.
     */
    async *from(place: StreamPlace): AsyncGenerator<Upcoming, void, undefined> {
      let { epoch, window, at } = place;
      const isWhole = window === 0;
      while (true) {
        const order = shuffled(source.parts.length, seededRandom(options.seed, streams.order, number, epoch));
        let ahead: ReturnType<typeof openWindow> | undefined;
        let found = 0;
        while (window < order.length) {
          const { parts, count, next } = await (ahead ?? openWindow(order, window));
          ahead = undefined;
          const samples = shuffled(count, seededRandom(options.seed, streams.order, number, epoch, window + 1));
          const starts = startsOf(parts.map(({ opened }) => opened.count));
          found += count;
          for (; at < count; at += 1) {
            if (2 * at >= count && next < order.length) {
              ahead ??= openWindow(order, next); // opened while the second half is used
              ahead.catch(() => {}); // reported in its turn
            }
            const { part, index } = placed(starts, samples[at]!);
            const after = at + 1 < count ? { epoch, window, at: at + 1 } : { epoch, window: next, at: 0 };
            const { opened, part: partNumber } = parts[part]!;
            yield {
              ref: [number, epoch, partNumber, index],
              next: after,
              name: opened.name(index),
              read: () => opened.read(index),
            };
          }
          window = next;
          at = 0;
        }
        if (found === 0 && place.epoch !== epoch) throw new FileError(`${source.spec} has no samples`);
        epoch += 1;
        window = 0;
        if (epoch === 1) options.note(`epoch 2 of ${source.spec} begins${isWhole ? `: it has ${amount(found)}` : ""}`);
      }
    },
  };
}

/** "1 sample", "1,234 samples". */
export const amount = (count: number): string => `${count.toLocaleString("en")} sample${count === 1 ? "" : "s"}`;

export type SampleStream = ReturnType<typeof streamOf>;

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
