/** The samples of one source, endlessly, in a shuffled order that can be taken up anywhere. */
import { FileError } from "../compiler/index.ts";
import type { OnSkip } from "./files.ts";
import { streams } from "./order.ts";
import { seededRandom, shuffled } from "./random.ts";
import type { RawSample } from "./samples.ts";
import type { Part, Source } from "./sources/source.ts";

/**
 * Where a stream goes on: in an epoch, whose parts come in an order of its own, at sample `at` of the window that begins
 * with part `window` of that order.
 */
export interface StreamPlace {
  readonly epoch: number;
  readonly window: number;
  readonly at: number;
}

export const streamStart: StreamPlace = { epoch: 0, window: 0, at: 0 };

/** A sample by where it lies: its source, epoch, part and number in the part. */
export type SampleRef = readonly [source: number, epoch: number, part: number, index: number];

/** A sample that comes next, not yet read. */
export interface Upcoming {
  readonly ref: SampleRef;
  readonly next: StreamPlace;
  /** What messages call it. */
  readonly name: string;
  readonly read: () => Promise<RawSample>;
}

export interface StreamOptions {
  readonly seed: number;
  /** A window has at least so many samples, if the source has. */
  readonly buffer: number;
  readonly onSkip: OnSkip;
  /** Hears that the samples come a second time. */
  readonly note: (text: string) => void;
}

/** A window has at least so many parts, for parts are often sorted by where their samples came from. */
const mixedParts = 4;

/** Parts of a source of so few are opened once. */
const keptParts = 4;

/** A source whose parts are opened where they are needed. */
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
    /** Samples in all, broken ones included, where that costs no reading that is not done in any case; else undefined. */
    count: async (): Promise<number | undefined> => {
      if (!source.isListed && source.parts.length > keptParts) return undefined;
      const parts = await Promise.all(source.parts.map(async (_, part) => await openPart(part)));
      return parts.reduce((sum, { count }) => sum + count, 0);
    },
    /** A sample that was met before. */
    again: async (ref: SampleRef): Promise<Omit<Upcoming, "next">> => {
      const [, , part, index] = ref;
      const opened = part < source.parts.length ? await openPart(part) : undefined;
      if (!opened || index >= opened.count)
        throw new FileError(`${source.spec} is not what it was when the checkpoint was saved: samples of it are gone`);
      return { ref, name: opened.name(index), read: () => opened.read(index) };
    },
    /** Every sample once, in the order in which they lie. */
    async *inOrder(): AsyncGenerator<Omit<Upcoming, "next">, void, undefined> {
      for (const part of source.parts.keys()) {
        const opened = await openPart(part);
        for (let index = 0; index < opened.count; index += 1)
          yield { ref: [number, 0, part, index], name: opened.name(index), read: () => opened.read(index) };
      }
    },
    /**
     * Epoch after epoch. The order depends on seed, epoch, and the sizes of parts alone, and going on at a place opens no
     * part before its window.
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
              ahead ??= openWindow(order, next); // while the second half is used
              ahead.catch(() => {}); // told when its turn comes
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
        if (found === 0 && place.epoch !== epoch) throw new FileError(`${source.spec} holds no sample`);
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

/** Which part of a window a sample of it lies in, and where in the part. */
function placed(starts: readonly number[], sample: number): { readonly part: number; readonly index: number } {
  let part = starts.length - 1;
  while (starts[part]! > sample) part -= 1;
  return { part, index: sample - starts[part]! };
}
