/** The exponential moving average of the weights: Polyak, Juditsky 1992; as in Tarvainen, Valpola 2017, arXiv:1703.01780, section 3. */
import { UsageError } from "../compiler/index.ts";
import { add, scale, sub, type Tensor } from "./tensor.ts";

/** How an average of the weights is kept. */
export interface EmaOptions {
  /** How much of the average stays at each step: 0.999, say. */
  readonly decay: number;
}

/**
 * The average after a step: average + (1 − decay) · (parameter − average), of the parameter as the step leaves it. The
 * average begins as the parameter does, so that nothing has to be corrected for a start at 0.
 */
export const averaged = <A extends string>(
  average: Tensor<A>,
  parameter: Tensor<A>,
  { decay }: EmaOptions,
): Tensor<A> => add(average, scale(sub(parameter, average), 1 - decay)) as Tensor<A>;

/** Throws UsageError, naming the stage, for a decay that is none. */
export function checkedEma(stage: string, ema: EmaOptions): EmaOptions {
  if (ema.decay >= 0 && ema.decay < 1) return ema;
  throw new UsageError(
    `stage "${stage}": the decay of ema is ${ema.decay}: it is at least 0 and below 1, such as 0.999`,
  );
}
