/** Parameters, declared where they are used and named by their path. */
import {
  type Birth,
  callsOf,
  captureBirth,
  type Distribution,
  type DType,
  isSymbolic,
  type Node,
  ops,
  partingCalls,
  printLocation,
  UsageError,
} from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { isPlain, kindOfValue } from "./declared.ts";
import type { Adapters, LowRank } from "./lora.ts";
import { checkOptions } from "./options.ts";
import { bernoulliOf } from "./random.ts";
import { type Tensor, typed } from "./tensor.ts";

/** A scope in the module tree. Scopes are cheap values: `p.scope("attn").scope("qkv")`. */
export interface Params {
  /** "blocks.3.attn", or "" at the root. */
  readonly path: string;
  /** True while a training step is traced: dropout and drop path act. */
  readonly training: boolean;
  scope(name: string | number): Params;
  /** The same scope, in which redeclaring a parameter is allowed and shares its weights. */
  shared(): Params;
  /**
   * A parameter of this scope. Throws UsageError for one that is already declared, except through `shared()`: two
   * layers in one scope would silently share weights; and for a model of more than 100,000.
   */
  parameter<A extends string = never>(
    name: string,
    axes: readonly Axis<A>[],
    init: Distribution,
    options?: ParameterOptions,
  ): Tensor<A>;
  /** The low-rank update that the stage asks for beside this scope's linear; undefined if none. */
  adapter(): LowRank | undefined;
  /** Random numbers drawn anew at each run: 1 with probability `p`, else 0. */
  bernoulli<A extends string>(name: string, axes: readonly Axis<A>[], p: number): Tensor<A>;
  /** Reports that the buffer at `path` has an update, which the loss must return. */
  reportUpdate(path: string): void;
}

/** Options of a parameter. */
export interface ParameterOptions {
  /** Stored with the parameters but not learned, like running statistics, and left out of parameter counts. */
  readonly buffer?: boolean;
  /** The range to which the parameter is clamped after each update; its gradient is not clamped. */
  readonly within?: Range;
}

/** The minimum and the maximum, both included. */
export type Range = readonly [number, number];

/** Options of all parameters below a root. */
export interface ParamsOptions {
  readonly training?: boolean;
  readonly dtype?: DType;
  readonly adapters?: Adapters;
  /** Called with each parameter that is declared, whether or not anything reads it. */
  readonly onParameter?: (parameter: Node) => void;
  /** Called with the path and range of each parameter that declares `within`. */
  readonly onRange?: (path: string, within: Range) => void;
  /** Called with the path of each buffer that is updated. */
  readonly onUpdate?: (path: string) => void;
}

/** The root scope. */
export const rootParams = (options: ParamsOptions = {}): Params =>
  scopeAt("", { ...options, declared: new Map(), sharing: false });

/** Shared by all scopes below a root, except `sharing`. */
interface Surroundings extends ParamsOptions {
  /** Where each parameter was declared first. */
  readonly declared: Map<string, Birth>;
  readonly sharing: boolean;
}

function scopeAt(path: string, around: Surroundings): Params {
  const join = (name: string | number) => {
    const part = String(name);
    if (!/^\w[\w-]*(\.\w[\w-]*)*$/.test(part))
      throw new UsageError(`"${part}" is not a valid name of a parameter or module: use letters, digits, _ and dots`);
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
      checkSizes(join(name), axes);
      checkInit(join(name), init);
      declare(join(name), around);
      if (within) around.onRange?.(join(name), within);
      const made = ops.parameter(join(name), around.dtype ?? "f32", axes, init, buffer ? "buffer" : undefined);
      around.onParameter?.(made);
      return typed(made);
    },
    adapter: () => around.adapters?.of(path),
    bernoulli: (name, axes, p) => bernoulliOf(join(name), axes, p),
    reportUpdate: (updated) => around.onUpdate?.(updated),
  };
}

function checkSizes(path: string, axes: readonly Axis[]): void {
  if (!Array.isArray(axes)) throw new UsageError(`parameter "${path}" takes a list of axes, got ${kindOfValue(axes)}`);
  const missing = axes.findIndex((a) => typeof a?.name !== "string");
  if (missing >= 0)
    throw new UsageError(
      `parameter "${path}": its axis ${missing + 1} of ${axes.length} is ${kindOfValue(axes[missing])}`,
    );
  const open = axes.find((a) => isSymbolic(a.size));
  if (open)
    throw new UsageError(
      `parameter "${path}" has the axis "${open.name}" of symbolic size ${open.size}; the sizes of parameters must be numbers: axis("${open.name}", 64)`,
    );
}

function checkInit(path: string, init: Distribution): void {
  if (
    isPlain(init) &&
    Object.values(init)
      .slice(1)
      .every((v) => Number.isFinite(v))
  )
    return;
  const given = isPlain(init) ? JSON.stringify(init) : kindOfValue(init);
  throw new UsageError(
    `the initializer of parameter "${path}" is ${given}; expected one such as zeros, ones, normal(0.02), truncatedNormal(0.02), constantInit(1)`,
  );
}

/** Stack frames captured for a declaration: enough to reach from the layer to the command that traces the model. */
const deep = 64;

/** Several times as many as the largest published models have: a model with more would be built without end. */
const mostParameters = 100_000;

function declare(path: string, { declared, sharing }: Surroundings): void {
  const before = declared.get(path);
  if (!before && declared.size === mostParameters)
    throw new UsageError(
      `parameter "${path}" is one more than the ${mostParameters} that a model may declare: check its settings, such as the number of layers`,
    );
  if (!before) declared.set(path, captureBirth(deep));
  else if (!sharing) throw declaredTwice(path, before, captureBirth(deep));
}

function declaredTwice(path: string, before: Birth, now: Birth): UsageError {
  const [first, again] = partingCalls(before, now)?.map(printLocation) ?? [];
  const calls = callsOf(now).filter(({ file }) => !/^(dist\/)?(bin|cli)\/|node_modules/.test(file));
  const same = calls.slice(0, 3).map(printLocation); // if it is a loop, it is in one of these
  const where =
    first === undefined ? `  both times  ${same.join("\n  called from ")}` : `  first  ${first}\n  again  ${again}`;
  return new UsageError(
    `the parameter "${path}" is declared twice:\n${where}\nGive each layer a scope of its own, as p.scope(i) in a loop; to share its weights on purpose, use p.shared()`,
  );
}
