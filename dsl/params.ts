/** Parameters, declared where they are used and named by their path. */
import { type Distribution, type DType, ops, UsageError } from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { bernoulliOf } from "./random.ts";
import { type Tensor, typed } from "./tensor.ts";

/** A place in the tree of modules. Scopes are cheap values: `p.scope("attn").scope("qkv")`. */
export interface Params {
  /** "blocks.3.attn", or "" at the root. */
  readonly path: string;
  /** True while a training step is traced: dropout and drop path act. */
  readonly training: boolean;
  scope(name: string | number): Params;
  /** A learned tensor of this scope. */
  parameter<A extends string = never>(
    name: string,
    axes: readonly Axis<A>[],
    init: Distribution,
    options?: ParameterOptions,
  ): Tensor<A>;
  /** Random numbers drawn anew at each run: 1 with probability `p`, else 0. */
  bernoulli<A extends string>(name: string, axes: readonly Axis<A>[], p: number): Tensor<A>;
}

export interface ParameterOptions {
  /** The least and the largest value that training leaves it: it is clamped after each update, and its gradient is not. */
  readonly within?: Range;
}

/** The least and the largest value. */
export type Range = readonly [number, number];

export interface ParamsOptions {
  readonly training?: boolean;
  readonly dtype?: DType;
  /** Is told the range of each parameter that has one, by its path. */
  readonly onRange?: (path: string, within: Range) => void;
}

/** The root scope. */
export const rootParams = (options: ParamsOptions = {}): Params => scopeAt("", options);

function scopeAt(path: string, options: ParamsOptions): Params {
  const join = (name: string | number) => {
    const part = String(name);
    if (!/^\w[\w-]*(\.\w[\w-]*)*$/.test(part))
      throw new UsageError(`"${part}" cannot name a parameter or a module: use letters, digits, _ and dots`);
    return path === "" ? part : `${path}.${part}`;
  };
  return {
    path,
    training: options.training ?? false,
    scope: (name) => scopeAt(join(name), options),
    parameter: (name, axes, init, { within } = {}) => {
      if (within) options.onRange?.(join(name), within);
      return typed(ops.parameter(join(name), options.dtype ?? "f32", axes, init));
    },
    bernoulli: (name, axes, p) => bernoulliOf(join(name), axes, p),
  };
}
