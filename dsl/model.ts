/** Models: a configuration with defaults and a function from it to inputs and outputs. The command line loads these. */
import { didYouMean, type Graph, makeGraph, type Node, UsageError } from "../compiler/index.ts";
import { type Params, type ParamsOptions, rootParams } from "./params.ts";

export type ConfigValue = number | string | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue };
export type Config = { readonly [key: string]: ConfigValue };

/** A graph over a model's parameters. */
export interface ModelGraph<C extends Config = Config> {
  /** One sentence for `heddle inspect`. */
  readonly summary: string;
  /** Declares the inputs and builds the outputs, by name. */
  readonly build: (p: Params, config: C) => Readonly<Record<string, Node>>;
  /** By the name of an input of ids: the run of one id that a text is meant to have, which random ids never would. */
  readonly runs?: (config: C) => Readonly<Record<string, TokenRun>>;
}

/** An id that stands so many times in a row, as that of an image does: once for each of the image's tokens. */
export interface TokenRun {
  readonly id: number;
  readonly length: number;
}

/** A graph with a name and settings, and others over the same parameters by their names, such as the step of a decoder. */
export interface Model<C extends Config = Config> extends ModelGraph<C> {
  readonly kind: "heddle.model";
  readonly name: string;
  readonly config: C;
  readonly graphs?: Readonly<Record<string, ModelGraph<C>>>;
}

/** A model that the command line, sessions and exports can use. */
export const defineModel = <C extends Config>(model: Omit<Model<C>, "kind">): Model<C> => ({
  kind: "heddle.model",
  ...model,
});

export interface TraceOptions extends ParamsOptions {
  /** Which of the model's named graphs; its own unless said. */
  readonly graph?: string;
}

/**
 * The model's graph; `overrides` replace configuration values. Throws UsageError for a key or a graph that is not there.
 * A named graph is called after the model and itself: "llama.decode".
 */
export function trace<C extends Config>(
  model: Model<C>,
  overrides: Partial<C> = {},
  { graph, ...options }: TraceOptions = {},
): Graph {
  const config = configure(model, overrides);
  const outputs = modelGraph(model, graph).build(rootParams(options), config);
  return makeGraph(
    graph === undefined ? model.name : `${model.name}.${graph}`,
    Object.entries(outputs).map(([name, node]) => ({ name, node })),
  );
}

/** The model itself, or the graph that it has by this name. Throws UsageError with all names where it has none. */
export function modelGraph<C extends Config>(model: Model<C>, name?: string): ModelGraph<C> {
  if (name === undefined) return model;
  const named = model.graphs ?? {};
  if (Object.hasOwn(named, name)) return named[name]!;
  const names = Object.keys(named);
  const known = names.length > 0 ? names.join(", ") : "none besides its own";
  throw new UsageError(`${model.name} has no graph "${name}"; it has ${known}`);
}

/** The model's configuration with some values replaced, each of the kind it had. */
export function configure<C extends Config>(model: Model<C>, overrides: Partial<C>): C {
  return mergeConfig(model.config, overrides as Config, model.name) as C;
}

function mergeConfig(base: Config, overrides: Config, where: string): Config {
  const merged: Record<string, ConfigValue> = { ...base };
  for (const [key, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(base, key)) {
      throw new UsageError(
        `${where} has no setting "${key}"${didYouMean(key, Object.keys(base))} It has ${Object.keys(base).join(", ")}.`,
      );
    }
    const old = base[key]!;
    if (isNested(old) && isNested(value)) merged[key] = mergeConfig(old, value, `${where}.${key}`);
    else if (typeof old !== typeof value)
      throw new UsageError(`${where}.${key} is a ${typeof old}, not the ${typeof value} ${JSON.stringify(value)}`);
    else merged[key] = value;
  }
  return merged;
}

const isNested = (v: ConfigValue): v is { readonly [key: string]: ConfigValue } =>
  typeof v === "object" && !Array.isArray(v);

/** Anything with settings: a model, a training job. */
export interface Configured {
  readonly name: string;
  readonly config: Config;
}

/** Reads `key=value` settings, dotted keys reaching into nested ones, by the kind of the value they replace. */
export function parseSettings(model: Configured, settings: readonly string[]): Config {
  const overrides: Record<string, ConfigValue> = {};
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    if (equals < 1) throw new UsageError(`--set takes key=value, not "${setting}"`);
    const path = setting.slice(0, equals).split(".");
    place(overrides, path, readValue(lookup(model, path), setting.slice(equals + 1), setting));
  }
  return overrides;
}

function lookup(model: Configured, path: readonly string[]): ConfigValue {
  let here: ConfigValue = model.config;
  for (const key of path) {
    const keys: string[] = isNested(here) ? Object.keys(here) : [];
    if (!isNested(here) || !Object.hasOwn(here, key)) {
      throw new UsageError(
        `${model.name} has no setting "${path.join(".")}"${didYouMean(key, keys)} It has ${keys.join(", ")}.`,
      );
    }
    here = here[key]!;
  }
  return here;
}

function place(into: Record<string, ConfigValue>, path: readonly string[], value: ConfigValue): void {
  const [head, ...rest] = path;
  if (rest.length === 0) into[head!] = value;
  else place((into[head!] ??= {}) as Record<string, ConfigValue>, rest, value);
}

function readValue(old: ConfigValue, text: string, setting: string): ConfigValue {
  if (typeof old === "string") return text;
  if (typeof old === "boolean") {
    if (text === "true" || text === "false") return text === "true";
    throw new UsageError(`--set ${setting}: true or false is needed`);
  }
  if (typeof old === "number") {
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value)) return value;
    throw new UsageError(`--set ${setting}: a number is needed`);
  }
  try {
    return JSON.parse(text) as ConfigValue;
  } catch {
    throw new UsageError(`--set ${setting}: a JSON value is needed, such as [1,2]`);
  }
}
