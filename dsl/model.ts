/** Models: a configuration with defaults and a function from it to a graph. The command line loads these. */
import { didYouMean, type Graph, makeGraph, type Node, shown, UsageError } from "../compiler/index.ts";
import type { ModelCheckpoints } from "./checkpoints.ts";
import type { Config, ConfigValue } from "./config.ts";
import { checkedModel } from "./model-checks.ts";
import type { ModelModes, Preprocessing } from "./modes.ts";
import { type Params, type ParamsOptions, rootParams } from "./params.ts";
import type { StageRecipe } from "./recipe.ts";
import { checkSettings, checkWholeNumbers, type SettingRules } from "./setting-rules.ts";

export type { Config, ConfigValue } from "./config.ts";

/** A graph over a model's parameters. */
export interface ModelGraph<C extends Config = Config> {
  /** One sentence for `heddle inspect`. */
  readonly summary: string;
  /** Declares the inputs and builds the outputs, by name. */
  readonly build: (p: Params, config: C) => Readonly<Record<string, Node>>;
  /** By the name of an id input: the run of one id that its tokens must contain, which random ids never would. */
  readonly runs?: (config: C) => Readonly<Record<string, TokenRun>>;
}

/** An id repeated `length` times, as an image's placeholder is: once for each of its tokens. */
export interface TokenRun {
  readonly id: number;
  readonly length: number;
}

/** A graph with a name and settings, and further named graphs over the same parameters, such as a decoder's step. */
export interface Model<C extends Config = Config> extends ModelGraph<C> {
  readonly kind: "heddle.model";
  readonly name: string;
  readonly config: C;
  /** Named presets for `--set`: the settings in which each differs from `config`, such as a tiny or a published one. */
  readonly configs?: Readonly<Record<string, Config>>;
  /** Validity rules of the settings. */
  readonly rules?: SettingRules;
  readonly graphs?: Readonly<Record<string, ModelGraph<C>>>;
  /** Training stages, by the names that `--stage` takes. */
  readonly stages?: Readonly<Record<string, StageRecipe<C>>>;
  /** How third-party checkpoints map to it; without this, tensors are looked up by parameter names. */
  readonly checkpoints?: ModelCheckpoints<C>;
  /** The `heddle run` modes that its graphs serve. */
  readonly modes?: ModelModes<C>;
  /** How images become its input, for a model that takes images. */
  readonly preprocessing?: Preprocessing;
  /** The paper it implements. */
  readonly paper?: Paper<C>;
}

/** The paper that a model implements. */
export interface Paper<C extends Config = Config> {
  /** "Radford et al. 2021, arXiv:2103.00020" */
  readonly source: string;
  /** Multiply-accumulates of one sample as the paper counts them. */
  readonly macs?: (config: C) => number;
}

/**
 * A model that the command line, sessions and exports can use. Throws one UsageError naming every field that is
 * missing, misspelt or of the wrong type; what `build` and the stages return is checked when they are called.
 */
export function defineModel<C extends Config>(model: Omit<Model<C>, "kind">): Model<C> {
  const made: Model<C> = { ...checkedModel(model), kind: "heddle.model" };
  for (const named of Object.values(made.configs ?? {})) configure(made, named as Partial<C>);
  return made;
}

/** Options of `trace`. */
export interface TraceOptions extends ParamsOptions {
  /** One of the model's named graphs; default its main graph. */
  readonly graph?: string;
}

/**
 * The model's graph; `overrides` replace configuration values. Throws UsageError for an unknown key or graph. A named
 * graph is called after the model and itself: "llama.decode".
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

/** The model itself, or its graph of this name. Throws UsageError, listing the names, if there is none. */
export function modelGraph<C extends Config>(model: Model<C>, name?: string): ModelGraph<C> {
  if (name === undefined) return model;
  const named = model.graphs ?? {};
  if (Object.hasOwn(named, name)) return named[name]!;
  const names = Object.keys(named);
  const known = names.length > 0 ? names.join(", ") : "none besides its own";
  throw new UsageError(`${model.name} has no graph "${name}"; it has ${known}`);
}

/**
 * The model's configuration with some values replaced. Throws UsageError for an unknown key, another type, or a value
 * that the model's rules reject.
 */
export function configure<C extends Config>(model: Model<C>, overrides: Partial<C>): C {
  const config = mergeConfig(model.config, overrides as Config, model.name) as C;
  const rules = model.rules ?? {};
  checkSettings(model.name, config, rules);
  checkWholeNumbers(model.name, model.config, config, rules);
  return config;
}

function mergeConfig(base: Config, overrides: Config, where: string): Config {
  const merged: Record<string, ConfigValue> = { ...base };
  for (const [key, value] of Object.entries(overrides)) {
    if (!Object.hasOwn(base, key)) {
      throw noSetting(where, key, Object.keys(base));
    }
    const old = base[key]!;
    if (isNested(old) && isNested(value)) merged[key] = mergeConfig(old, value, `${where}.${key}`);
    else if (kindOf(old) !== kindOf(value))
      throw new UsageError(`${where}.${key} must be ${kindOf(old)}, got ${kindOf(value)}: ${shown(value)}`);
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
  readonly configs?: Readonly<Record<string, Config>> | undefined;
}

const kindOf = (v: ConfigValue): string =>
  Array.isArray(v) ? "a list" : isNested(v) ? "a group of settings" : `a ${typeof v}`;

const noSetting = (where: string, key: string, known: readonly string[]): UsageError =>
  new UsageError(
    `${where} has no setting "${key}"${didYouMean(key, known) || "."} It has ${known.join(", ") || "none"}.`,
  );

/**
 * Parses `key=value` settings, typed as the values they replace, and names of the model's presets; later settings
 * override earlier ones. Dotted keys reach into groups; a key that only one group has needs no prefix.
 */
export function parseSettings(model: Configured, settings: readonly string[]): Config {
  const overrides: Record<string, ConfigValue> = {};
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    if (equals < 1) {
      for (const [path, value] of leavesOf(configNamed(model, setting))) place(overrides, path, value);
      continue;
    }
    const path = settingPath(model, setting.slice(0, equals));
    place(overrides, path, readValue(lookup(model, path), setting.slice(equals + 1), setting));
  }
  return overrides;
}

/** The preset of that name. Throws UsageError if there is none. */
function configNamed({ name, configs = {} }: Configured, asked: string): Config {
  if (Object.hasOwn(configs, asked)) return configs[asked]!;
  const known = Object.keys(configs);
  const named = known.length > 0 ? `, or a configuration of ${name}: ${known.join(", ")}` : "";
  throw new UsageError(`a setting is key=value${named}; got "${asked}"${didYouMean(asked, known)}`);
}

/** All leaf settings with their paths. */
const leavesOf = (config: Config, before: readonly string[] = []): [readonly string[], ConfigValue][] =>
  Object.entries(config).flatMap(([key, value]) =>
    isNested(value) ? leavesOf(value, [...before, key]) : [[[...before, key], value]],
  );

/** The path of a key; one that exists in only one group resolves into that group. */
function settingPath({ name, config }: Configured, key: string): readonly string[] {
  const path = key.split(".");
  if (path.length > 1 || Object.hasOwn(config, key)) return path;
  const groups = Object.entries(config).flatMap(([group, value]) => (isNested(value) ? [{ group, value }] : []));
  const places = groups.filter(({ value }) => Object.hasOwn(value, key)).map(({ group }) => [group, key]);
  if (places.length === 1) return places[0]!;
  if (places.length === 0) throw noSetting(name, key, [...Object.keys(config), ...groups.flatMap(dottedKeys)]);
  throw new UsageError(`${name} has "${key}" more than once: use ${places.map((p) => p.join(".")).join(" or ")}`);
}

const dottedKeys = ({ group, value }: { readonly group: string; readonly value: Config }): string[] =>
  Object.keys(value).map((key) => `${group}.${key}`);

function lookup(model: Configured, path: readonly string[]): ConfigValue {
  let here: ConfigValue = model.config;
  for (const [depth, key] of path.entries()) {
    const where = [model.name, ...path.slice(0, depth)].join(".");
    if (!isNested(here))
      throw new UsageError(`${where} is ${kindOf(here)}, not a group of settings, so it has no "${key}"`);
    if (!Object.hasOwn(here, key)) throw noSetting(where, key, Object.keys(here));
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
    throw new UsageError(`the setting ${setting}: expected true or false`);
  }
  if (typeof old === "number") {
    const value = Number(text);
    if (text.trim() !== "" && Number.isFinite(value)) return value;
    const sides = /^\d+x\d+$/.test(text) ? "; it is one number, for both sides if it is a size of images" : "";
    throw new UsageError(`the setting ${setting}: expected a number, such as ${old}${sides}`);
  }
  try {
    return JSON.parse(text) as ConfigValue;
  } catch {
    throw new UsageError(`the setting ${setting}: expected a JSON value, such as [1,2]`);
  }
}
