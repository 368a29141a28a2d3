/** Exchanges that overlap with the device's computation, one after the other in the order in which they were added. */

export interface Beside {
  /** Runs `exchange` once `given` has resolved and all earlier exchanges have ended; returns at once. */
  add<T>(given: Promise<T>, exchange: (given: T) => Promise<void>): void;
  /** Resolves when all added exchanges have ended. Rejects with the first error among them. */
  settled(): Promise<void>;
  /** Seconds of exchange that overlapped with computation, that is, while nobody waited in `settled`. */
  seconds(): number;
}

export function beside(): Beside {
  let last: Promise<void> = Promise.resolve();
  let waitedSince: number | undefined;
  let seconds = 0;
  return {
    add: (given, exchange) => {
      last = last.then(async () => {
        const there = await given;
        const begun = performance.now();
        await exchange(there);
        seconds += Math.max(0, (waitedSince ?? performance.now()) - begun) / 1000;
      });
      last.catch(() => {}); // reported by settled()
    },
    settled: async () => {
      waitedSince = performance.now();
      await last;
      waitedSince = undefined;
    },
    seconds: () => seconds,
  };
}
