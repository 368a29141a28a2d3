/** What exchanging costs between the ranks that are here: the constants that plans of several devices are made with. */
import type { Collectives } from "./collectives.ts";

export interface ExchangeCosts {
  /** Seconds of a sum of next to nothing. */
  readonly latency: number;
  /** Bytes that a rank sends a second, while it receives as many and adds them up. */
  readonly bytesPerSecond: number;
}

export interface TimedExchange {
  /** Bytes that a rank sent. */
  readonly sent: number;
  readonly seconds: number;
}

const [smallest, largest, turns] = [2 ** 8, 2 ** 22, 7];

/** Sums tensors over ranks, a small one and a large one, some times each. All ranks call it. */
export async function measureExchange(collectives: Collectives): Promise<ExchangeCosts> {
  const timed: TimedExchange[] = [];
  for (const elements of [smallest, largest]) {
    const data = new Float32Array(elements);
    for (let turn = 0; turn < turns; turn++) {
      await collectives.barrier();
      const [before, begun] = [collectives.traffic().sentBytes, performance.now()];
      await collectives.allReduce(data);
      const seconds = (performance.now() - begun) / 1000;
      if (turn > 0) timed.push({ sent: collectives.traffic().sentBytes - before, seconds }); // the first opens connections
    }
  }
  return exchangeCosts(timed);
}

/** The line through the medians of the smallest and the largest exchange. */
export function exchangeCosts(timed: readonly TimedExchange[]): ExchangeCosts {
  const sizes = timed.map((t) => t.sent);
  const medianOf = (sent: number) => {
    const all = timed.filter((t) => t.sent === sent).map((t) => t.seconds);
    return all.sort((a, b) => a - b)[Math.floor(all.length / 2)]!;
  };
  const [few, many] = [Math.min(...sizes), Math.max(...sizes)];
  const [short, long] = [medianOf(few), medianOf(many)];
  const slope = Math.max(long - short, Number.MIN_VALUE) / (many - few);
  return { latency: Math.max(0, short - slope * few), bytesPerSecond: 1 / slope };
}
