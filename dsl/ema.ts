/**
 * The exponential moving average of the weights: Polyak, Juditsky 1992; as in Tarvainen, Valpola 2017,
 * arXiv:1703.01780, section 3.
 */
import { UsageError } from "../compiler/index.ts";
import { isPlain, kindOfValue } from "./declared.ts";
import { decayRate } from "./optim/setting-checks.ts";
import { add, scale, sub, type Tensor } from "./tensor.ts";

/** Options of the moving average. */
export interface EmaOptions {
  /** The fraction of the average kept at each step, such as 0.999. */
  readonly decay: number;
}

/**
 * The average after a step: average + (1 − decay) · (parameter − average), with the updated parameter. It starts as the
 * initial parameters, so no bias correction is needed.
 */
export const averaged = <A extends string>(
  average: Tensor<A>,
  parameter: Tensor<A>,
  { decay }: EmaOptions,
): Tensor<A> => add(average, scale(sub(parameter, average), 1 - decay)) as Tensor<A>;

/** The options, checked. Throws UsageError, naming the stage, for a decay outside [0, 1). */
export function checkedEma(stage: string, ema: EmaOptions): EmaOptions {
  if (decayRate.accepts(ema.decay)) return ema;
  throw new UsageError(
    `stage "${stage}": the decay of ema must be at least 0 and below 1, such as 0.999, got ${isPlain(ema) ? kindOfValue(ema.decay) : kindOfValue(ema)}`,
  );
}
