/**
 * Finiteness checks of a run's metrics at every step and of its weights at the end, so that no weights with a NaN are
 * ever written.
 */
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import type { CompiledStep } from "./job.ts";

type Figures = Readonly<Record<string, number>>;

/** A step whose loss or gradient is not finite. */
export class NonFiniteStepError extends UsageError {
  readonly step: number;
  constructor(message: string, step: number) {
    super(message);
    this.step = step;
  }
}

/**
 * Throws NonFiniteStepError for a loss or gradient norm that is not finite, and UsageError for such a learning rate, in
 * every step including the last. A gradient can be NaN while the loss is finite, and by then the parameters are NaN
 * too, so this is checked before anything is saved. With an adaptive loss scale, such a step was skipped and left the
 * parameters intact; it ends the run only when the scale cannot shrink further.
 */
export function assertFiniteFigures(step: CompiledStep, number: number, figures: Figures): void {
  const { loss = Number.NaN, gradient_norm: norm = Number.NaN, rate = Number.NaN } = figures;
  if (!Number.isFinite(loss))
    throw new NonFiniteStepError(
      ended(`the loss of step ${number} is ${loss}`, "lower the learning rate or clip the gradient"),
      number,
    );
  if (!Number.isFinite(norm) && !canShrink(step, figures))
    throw new NonFiniteStepError(
      ended(`the gradient of step ${number} is not finite (its norm is ${norm}, the loss ${loss})`, remedy(step)),
      number,
    );
  if (!Number.isFinite(rate))
    throw new UsageError(
      ended(`the learning rate of step ${number} is ${rate}`, "check the stage's learning rate schedule at this step"),
    );
}

const canShrink = ({ lossScale }: CompiledStep, { loss_scale: scale }: Figures): boolean =>
  lossScale?.goodSteps !== undefined && scale! > 1;

const remedy = ({ lossScale }: CompiledStep): string => {
  if (!lossScale) return "lower the learning rate";
  return lossScale.goodSteps
    ? `it was not finite at any loss scale down to 2 (these steps were skipped and changed no parameter): lower the learning rate, or use precision "f32"`
    : `in f16 a gradient exceeds 65504 when multiplied by the loss scale ${lossScale.initial}: use a smaller lossScale, or precision "f32"`;
};

const ended = (what: string, hint: string): string => `${what}: ${hint}; checkpoints from before this step are intact`;

/** Throws UsageError naming the first weight with an infinity or a NaN; running statistics can have one too. */
export function assertFiniteWeights(weights: ReadonlyMap<string, HostTensor>): void {
  for (const [name, { data }] of weights) {
    const at = data.findIndex((v) => !Number.isFinite(v));
    if (at < 0) continue;
    throw new UsageError(
      `element ${at} of "${name}" is ${data[at]} after the last step, so no weights were written: lower the learning rate`,
    );
  }
}
