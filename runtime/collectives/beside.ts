/** Exchanges that go on while a device computes: one after the other, in the order in which they were asked for. */

export interface Beside {
  /** Exchanges what is given when that is there and all before it have ended; whoever calls goes on. */
  add<T>(given: Promise<T>, exchange: (given: T) => Promise<void>): void;
  /** Resolves when all that were asked for have ended. Throws what the first of them that failed did. */
  settled(): Promise<void>;
  /** Seconds in which they were under way and nobody waited for them. */
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
      last.catch(() => {}); // told to whoever waits
    },
    settled: async () => {
      waitedSince = performance.now();
      await last;
      waitedSince = undefined;
    },
    seconds: () => seconds,
  };
}
