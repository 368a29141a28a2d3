/**
 * Settings of a model as a flat record: the form of a run's settings, and of a `config.json` without a published form.
 */
import { shown, UsageError } from "../compiler/index.ts";
import type { Config, ConfigValue, StageSetting } from "../dsl/index.ts";

type Flat = Readonly<Record<string, StageSetting>>;

/** The field of such a `config.json` with the model's name. */
export const modelKey = "heddle_model";

/** Groups of settings as dotted keys; a list becomes JSON, since a run's settings are strings and numbers. */
export function flattened(config: Config, before = ""): Record<string, StageSetting> {
  return Object.fromEntries(
    Object.entries(config).flatMap(([key, value]): [string, StageSetting][] => {
      const name = before + key;
      if (Array.isArray(value)) return [[name, JSON.stringify(value)]];
      return typeof value === "object" ? Object.entries(flattened(value as Config, `${name}.`)) : [[name, value]];
    }),
  );
}

/** The configuration of flat settings, in the structure of `like`. Throws UsageError for an invalid list. */
export const nested = (settings: Flat, like: Config, before = ""): Config =>
  Object.fromEntries(
    Object.entries(like).map(([key, value]): [string, ConfigValue] => {
      const name = before + key;
      if (Array.isArray(value)) return [key, listOf(name, settings[name]!)];
      return [key, typeof value === "object" ? nested(settings, value as Config, `${name}.`) : settings[name]!];
    }),
  );

function listOf(name: string, text: StageSetting): readonly ConfigValue[] {
  try {
    const list: unknown = JSON.parse(String(text));
    if (Array.isArray(list)) return list as ConfigValue[];
  } catch {
    // reported below
  }
  throw otherKind(name, text, "a list, as JSON");
}

const otherKind = (name: string, value: unknown, needed: string) =>
  new UsageError(`${name} is ${shown(value)}; expected ${needed}`);

/** A configuration with those of its settings that a file has. Throws UsageError for one of another type. */
export function withKnown(config: Config, settings: Readonly<Record<string, unknown>>, path: string): Config {
  const usual = flattened(config);
  const known = Object.entries(settings).filter(([key]) => Object.hasOwn(usual, key));
  try {
    for (const [key, value] of known)
      if (typeof value !== typeof usual[key]) throw otherKind(key, value, `a ${typeof usual[key]}`);
    return nested({ ...usual, ...(Object.fromEntries(known) as Flat) }, config);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${path}: ${error.message}`);
    throw error;
  }
}
