/** Batch normalization, with running statistics. */
import { type Distribution, ones, ops, productOfDims, zeros } from "../../compiler/index.ts";
import type { Axis } from "../axis.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import {
  type AnyTensor,
  add,
  div,
  max,
  mean,
  mul,
  rsqrt,
  scale,
  sizeOf,
  sub,
  sum,
  type Tensor,
  typed,
} from "../tensor.ts";
import { buffer, type StateUpdate } from "./buffer.ts";

interface NormOptions {
  readonly epsilon?: number;
  /** The weight of the new batch in the running statistics; default 0.1, as in PyTorch. */
  readonly momentum?: number;
  /** Initializer of the weight; default ones. Zeros make a residual branch start as zero. */
  readonly init?: Distribution;
}

/** Options of `batchNorm`; its `updates` go into the result of a loss. */
export type BatchNormOptions = NormOptions &
  (
    | {
        /** Receives the running statistics that a training step must keep. */
        readonly updates: StateUpdate[];
        readonly frozen?: false;
      }
    | {
        /**
         * Normalizes by the running statistics in training too, and leaves them as they are: torchvision's
         * FrozenBatchNorm2d, whose weight and bias are frozen as well, which is the stage's `trainable`.
         */
        readonly frozen: true;
        readonly updates?: StateUpdate[];
      }
  );

/**
 * (x − mean) / std · weight + bias per channel, over all other axes. Training uses the batch's statistics and appends
 * the running ones to `updates` (states `running_mean` and `running_var` [channel], the variance unbiased, 0 for a
 * single value); otherwise, and with `frozen`, those are buffers. Ioffe, Szegedy 2015, arXiv:1502.03167, algorithms 1
 * and 2.
 */
export function batchNorm<A extends string, C extends A>(
  p: Params,
  x: Tensor<A>,
  channel: Axis<C>,
  options: BatchNormOptions,
): Tensor<A> {
  checkOptions("batchNorm", options, { epsilon: true, momentum: true, init: true, updates: true, frozen: true });
  const { epsilon = 1e-5, init = ones } = options;
  const [weight, bias] = [p.parameter("weight", [channel], init), p.parameter("bias", [channel], zeros)];
  if (p.training && !options.frozen) {
    const others = x.type.axes.filter((a) => a.name !== channel.name);
    keepStatistics(p, x, channel, others as Axis[], options);
    const over = others.map((a) => a.name);
    return typed<A>(ops.layerNorm(x, weight, bias, over, epsilon)); // each channel normalized over all else
  }
  const center = p.parameter("running_mean", [channel], zeros, { buffer: true });
  const variance = p.parameter("running_var", [channel], ones, { buffer: true });
  const factor = mul(weight, rsqrt(add(variance, epsilon)));
  return typed<A>(add(mul(sub(x, center), factor), bias));
}

/** Updates the running statistics, from the same sums over the batch as the norm's. */
function keepStatistics(
  p: Params,
  x: AnyTensor,
  channel: Axis,
  others: readonly Axis[],
  { momentum = 0.1, updates }: Extract<BatchNormOptions, { readonly frozen?: false }>,
): void {
  const center = mean(x, others);
  const apart = sub(x, center);
  const squares = sum(mul(apart, apart), others);
  const count = sizeOf(productOfDims(others.map((a) => a.size)));
  const keep = (name: string, now: AnyTensor, start: Distribution) => {
    const before = buffer(p, name, [channel], start);
    updates.push(before.update(add(scale(before.value, 1 - momentum), scale(now, momentum)) as never));
  };
  keep("running_mean", center, zeros);
  keep("running_var", div(squares, max(sub(count, 1), 1)), ones);
}
