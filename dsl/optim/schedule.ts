/** Learning-rate schedules, as graphs of the step counter. */
import { add, constant, cos, div, lt, min, mul, select, sub, type Tensor } from "../tensor.ts";

/** A schedule maps the number of steps done (0 at first, an f32 scalar made of the integer that the run counts in) to the learning rate of the next step. */
export type Schedule = (step: Tensor<never>) => Tensor<never>;

export interface CosineOptions {
  readonly peak: number;
  /** All steps, the warm-up included. */
  readonly steps: number;
  /** Linear from peak/warmup to peak. */
  readonly warmup?: number;
  /** The rate at the end; default 0. */
  readonly floor?: number;
}

/** Linear warm-up, then half a cosine down to the floor. Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5. */
export const cosine = ({ peak, steps, warmup = 0, floor = 0 }: CosineOptions): Schedule => {
  const span = Math.max(1, steps - warmup);
  return (step) => {
    const progress = min(div(sub(step, warmup), span), 1);
    const falling = add(mul(add(cos(mul(progress, Math.PI)), 1), (peak - floor) / 2), floor);
    if (warmup === 0) return falling;
    return select(lt(step, warmup), mul(add(step, 1), peak / warmup), falling);
  };
};

export const constantRate =
  (rate: number): Schedule =>
  () =>
    constant(rate);
