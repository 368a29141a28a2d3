/** How long a step of some ranks takes, by what one and two took. docs/plan.md has the formulas. */
import type { ExchangeCosts } from "../runtime/index.ts";

/** Of one step, on the rank that computed longest. */
export interface MeasuredStep {
  readonly seconds: number;
  /** In which gradients, features and weights were exchanged, or waited for. */
  readonly exchange: number;
  readonly sentBytes: number;
}

export interface Forecast {
  readonly computing: number;
  readonly exchange: number;
  readonly seconds: number;
}

/**
 * What ranks divide takes 1 / R of the time, and the rest all of it: runs of one rank and of two tell both. Two ranks send as much as they exchange
 * tensors, R of them 2 (R - 1) / R times that; what bytes do not explain, such as waiting for the slower, stays as it is.
 */
export function forecast(one: MeasuredStep, two: MeasuredStep, costs: ExchangeCosts, ranks: number): Forecast {
  const saved = one.seconds - (two.seconds - two.exchange);
  const divided = Math.min(Math.max(0, 2 * saved), one.seconds);
  const computing = one.seconds - divided + divided / ranks;
  const sending = two.sentBytes / costs.bytesPerSecond;
  const waiting = Math.max(0, two.exchange - sending);
  const exchange = waiting + (sending * 2 * (ranks - 1)) / ranks;
  return { computing, exchange, seconds: computing + exchange };
}
