/** Models: a configuration with defaults and a function from it to inputs and outputs. The command line loads these. */
import { didYouMean, type Graph, makeGraph, type Node, UsageError } from "../compiler/index.ts";
import { type Params, type ParamsOptions, rootParams } from "./params.ts";

export type ConfigValue = number | string | boolean | readonly ConfigValue[] | { readonly [key: string]: ConfigValue };
export type Config = { readonly [key: string]: ConfigValue };

export interface Model<C extends Config = Config> {
  readonly kind: "heddle.model";
  readonly name: string;
  /** One sentence for `heddle inspect`. */
  readonly summary: string;
  readonly config: C;
  /** Declares the inputs and builds the outputs, by name. */
  readonly build: (p: Params, config: C) => Readonly<Record<string, Node>>;
}

/** A model that the command line, sessions and exports can use. */
export const defineModel = <C extends Config>(model: Omit<Model<C>, "kind">): Model<C> => ({
  kind: "heddle.model",
  ...model,
});

/** The model's graph; `overrides` replace configuration values. Throws UsageError for a key that is not there. */
export function trace<C extends Config>(
  model: Model<C>,
  overrides: Partial<C> = {},
  options: ParamsOptions = {},
): Graph {
  const config = configure(model, overrides);
  const outputs = model.build(rootParams(options), config);
  return makeGraph(
    model.name,
    Object.entries(outputs).map(([name, node]) => ({ name, node })),
  );
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
