/**
 * Random numbers as declared inputs, which the runtime fills from seeded streams, so every executor sees the same
 * values.
 */
import { bernoulli, type Distribution, ops } from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { type Tensor, typed } from "./tensor.ts";

/** Random numbers drawn anew at each run: f32 [axes...]. */
export const random = <A extends string>(name: string, axes: readonly Axis<A>[], dist: Distribution): Tensor<A> =>
  typed(ops.random(name, axes, dist));

/** 1 with probability `p`, else 0, drawn anew at each run: f32 [axes...]. Layers ask for it as `p.bernoulli`. */
export const bernoulliOf = <A extends string>(name: string, axes: readonly Axis<A>[], p: number): Tensor<A> =>
  random(name, axes, bernoulli(p));
