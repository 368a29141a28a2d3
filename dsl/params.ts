/** Parameters, declared where they are used and named by their path. */
import {
  type Birth,
  callsOf,
  captureBirth,
  type Distribution,
  type DType,
  ops,
  partingCalls,
  printLocation,
  UsageError,
} from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import type { Adapters, LowRank } from "./lora.ts";
import { checkOptions } from "./options.ts";
import { bernoulliOf } from "./random.ts";
import { type Tensor, typed } from "./tensor.ts";

/** A place in the tree of modules. Scopes are cheap values: `p.scope("attn").scope("qkv")`. */
export interface Params {
  /** "blocks.3.attn", or "" at the root. */
  readonly path: string;
  /** True while a training step is traced: dropout and drop path act. */
  readonly training: boolean;
  scope(name: string | number): Params;
  /** The same place, where parameters that are there already are meant: what is built on them shares their weights. */
  shared(): Params;
  /**
   * A learned tensor of this scope. Throws UsageError for one that was declared before, unless it is asked for through
   * `shared()`: two layers in one scope would be one layer.
   */
  parameter<A extends string = never>(
    name: string,
    axes: readonly Axis<A>[],
    init: Distribution,
    options?: ParameterOptions,
  ): Tensor<A>;
  /** What a linear of this scope learns beside its weight, where its stage asks for that. */
  adapter(): LowRank | undefined;
  /** Random numbers drawn anew at each run: 1 with probability `p`, else 0. */
  bernoulli<A extends string>(name: string, axes: readonly Axis<A>[], p: number): Tensor<A>;
}

export interface ParameterOptions {
  /** It is kept with the parameters and not learned, as running statistics are: no count of parameters has it. */
  readonly buffer?: boolean;
  /** The least and the largest value that training leaves it: it is clamped after each update, and its gradient is not. */
  readonly within?: Range;
}

/** The least and the largest value. */
export type Range = readonly [number, number];

export interface ParamsOptions {
  readonly training?: boolean;
  readonly dtype?: DType;
  readonly adapters?: Adapters;
  /** Is told the range of each parameter that has one, by its path. */
  readonly onRange?: (path: string, within: Range) => void;
}

/** The root scope. */
export const rootParams = (options: ParamsOptions = {}): Params =>
  scopeAt("", { ...options, declared: new Map(), sharing: false });

/** What all scopes below a root have in common, but for whether sharing is meant. */
interface Surroundings extends ParamsOptions {
  /** Where each parameter was declared first. */
  readonly declared: Map<string, Birth>;
  readonly sharing: boolean;
}

function scopeAt(path: string, around: Surroundings): Params {
  const join = (name: string | number) => {
    const part = String(name);
    if (!/^\w[\w-]*(\.\w[\w-]*)*$/.test(part))
      throw new UsageError(`"${part}" cannot name a parameter or a module: use letters, digits, _ and dots`);
    return path === "" ? part : `${path}.${part}`;
  };
  return {
    path,
    training: around.training ?? false,
    scope: (name) => scopeAt(join(name), around),
    shared: () => scopeAt(path, { ...around, sharing: true }),
    parameter: (name, axes, init, options = {}) => {
      checkOptions("parameter", options, { buffer: true, within: true });
      const { within, buffer } = options;
      declare(join(name), around);
      if (within) around.onRange?.(join(name), within);
      return typed(ops.parameter(join(name), around.dtype ?? "f32", axes, init, buffer ? "buffer" : undefined));
    },
    adapter: () => around.adapters?.of(path),
    bernoulli: (name, axes, p) => bernoulliOf(join(name), axes, p),
  };
}

/** Frames that lead to a declaration: from the command that traces the model to the layer. */
const deep = 64;

function declare(path: string, { declared, sharing }: Surroundings): void {
  const before = declared.get(path);
  if (!before) declared.set(path, captureBirth(deep));
  else if (!sharing) throw declaredTwice(path, before, captureBirth(deep));
}

function declaredTwice(path: string, before: Birth, now: Birth): UsageError {
  const [first, again] = partingCalls(before, now)?.map(printLocation) ?? [];
  const same = callsOf(now).slice(0, 3).map(printLocation); // a loop is in one of these
  const where =
    first === undefined ? `  both times  ${same.join("\n  called from ")}` : `  first  ${first}\n  again  ${again}`;
  return new UsageError(
    `the parameter "${path}" is declared twice:\n${where}\nGive each layer a scope of its own, as p.scope(i) in a loop; where its weights are to be shared, say so: p.shared()`,
  );
}
