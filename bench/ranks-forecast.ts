/** Predicts the step time with several ranks from the times with one and two. docs/plan.md has the formulas. */
import { UsageError } from "../compiler/index.ts";
import type { ExchangeCosts } from "../runtime/index.ts";

/** Measurements of a step, on the slowest rank. */
export interface MeasuredStep {
  readonly seconds: number;
  /** Seconds spent exchanging gradients, features and weights, or waiting for that. */
  readonly exchange: number;
  readonly sentBytes: number;
}

export interface Forecast {
  readonly computing: number;
  readonly exchange: number;
  readonly seconds: number;
}

/**
 * The divisible part takes 1 / R of its time, the rest is constant: runs with one and two ranks determine both. Two
 * ranks each send as many bytes as the exchanged tensors have, R ranks 2 (R - 1) / R times that; exchange time that
 * bytes do not explain, such as waiting for slower ranks, is assumed constant. With `perCore` ranks on a core, all of
 * it takes that many times as long. Throws UsageError if a step has no time.
 */
export function forecast(
  one: MeasuredStep,
  two: MeasuredStep,
  costs: ExchangeCosts,
  ranks: number,
  perCore = 1,
): Forecast {
  if (one.seconds <= 0 || two.seconds <= 0)
    throw new UsageError(
      "the timed steps took no longer than the run without them: the machine is busy, or they are few: time more with --steps",
    );
  const saved = one.seconds - (two.seconds - two.exchange);
  const divided = Math.min(Math.max(0, 2 * saved), one.seconds);
  const computing = perCore * (one.seconds - divided + divided / ranks);
  const sending = two.sentBytes / costs.bytesPerSecond;
  const waiting = Math.max(0, two.exchange - sending);
  const exchange = perCore * (waiting + (sending * 2 * (ranks - 1)) / ranks);
  return { computing, exchange, seconds: computing + exchange };
}
