/**
 * Measures the cost of exchanges between the present ranks: the constants of the cost model for plans on several
 * devices.
 */
import type { Collectives } from "./collectives.ts";

export interface ExchangeCosts {
  /** Seconds that an all-reduce takes regardless of its size. */
  readonly latency: number;
  /** Bytes per second that a rank sends, while it receives and adds up as many. */
  readonly bytesPerSecond: number;
}

export interface TimedExchange {
  /** Bytes that this rank sent. */
  readonly sent: number;
  readonly seconds: number;
}

const [smallest, largest, turns] = [2 ** 8, 2 ** 22, 7];

/** Times all-reduces of a small and a large tensor, several times each. All ranks must call it. */
export async function measureExchange(collectives: Collectives): Promise<ExchangeCosts> {
  const timed: TimedExchange[] = [];
  for (const elements of [smallest, largest]) {
    const data = new Float32Array(elements);
    for (let turn = 0; turn < turns; turn++) {
      await collectives.barrier();
      const [before, begun] = [collectives.traffic().sentBytes, performance.now()];
      await collectives.allReduce(data);
      const seconds = (performance.now() - begun) / 1000;
      if (turn > 0) timed.push({ sent: collectives.traffic().sentBytes - before, seconds }); // turn 0 opens connections
    }
  }
  return exchangeCosts(timed);
}

/** Fits a line through the medians of the smallest and the largest exchange. */
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
