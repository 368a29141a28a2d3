/** What the settings of a model may be, so that a wrong one is told by its name before anything is built from it. */
import { shown, UsageError } from "../compiler/index.ts";

export { shown };

/** What a setting may be. */
export interface SettingRule {
  /** In words, after "needed is": "a whole number from 1 to 1000". */
  readonly needed: string;
  readonly accepts: (value: unknown) => boolean;
}

type Settings = { readonly [key: string]: unknown };

/** A rule for each setting that has one, nested as the configuration is. */
export type SettingRules = { readonly [key: string]: SettingRule | SettingRules };

/** A whole number in a range, both ends included. */
export const whole = (least: number, most: number): SettingRule => ({
  needed: `a whole number from ${least} to ${most}`,
  accepts: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});

/** How many there are of something: a whole number, 1 or more. */
export const count: SettingRule = {
  needed: "a whole number from 1",
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

/** A number above 0. */
export const positive: SettingRule = {
  needed: "a number above 0",
  accepts: (value) => typeof value === "number" && value > 0,
};

/** A share of a whole: from 0 on, below 1. */
export const share: SettingRule = {
  needed: "a number from 0 to below 1",
  accepts: (value) => typeof value === "number" && value >= 0 && value < 1,
};

/** Any number from 0 on. */
export const notNegative: SettingRule = {
  needed: "a number from 0",
  accepts: (value) => typeof value === "number" && value >= 0,
};

/** A part of a whole: above 0, up to 1. */
export const partOf: SettingRule = {
  needed: "a number above 0, at most 1",
  accepts: (value) => typeof value === "number" && value > 0 && value <= 1,
};

/** A number from 0 to 1, both among them. */
export const probability: SettingRule = {
  needed: "a number from 0 to 1",
  accepts: (value) => typeof value === "number" && value >= 0 && value <= 1,
};

/** One of some words; an empty one is told as what it is, nothing. */
export const word = (...words: readonly string[]): SettingRule => ({
  needed: `one of ${words.map((each) => each || "nothing").join(", ")}`,
  accepts: (value) => words.includes(value as string),
});

/** A list, each of its values by the same rule. */
export const listOf = ({ needed, accepts }: SettingRule): SettingRule => ({
  needed: `a list, each value ${needed}`,
  accepts: (value) => Array.isArray(value) && value.length > 0 && value.every(accepts),
});

/** Throws one UsageError naming every setting that its rule refuses. Settings without a rule may be anything. */
export function checkSettings(where: string, config: Settings, rules: SettingRules): void {
  const faults = faultsOf(where, config, rules);
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}

function faultsOf(where: string, config: Settings, rules: SettingRules): string[] {
  return Object.entries(rules).flatMap(([key, rule]) => {
    const [place, value] = [`${where}.${key}`, config[key]];
    if (value === undefined) return [];
    if (!isRule(rule)) return faultsOf(place, value as Settings, rule);
    return rule.accepts(value) ? [] : [`${place} is ${shown(value)}; needed is ${rule.needed}`];
  });
}

/**
 * Throws one UsageError naming every setting without a rule that was a whole number from 2 on and is none now: half a layer is a
 * mistake, and a graph would be built of it. 0 and 1 are also what rates and factors begin with.
 */
export function checkWholeNumbers(where: string, before: Settings, config: Settings, rules: SettingRules): void {
  const faults = fractions(where, before, config, rules);
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}

function fractions(where: string, before: Settings, config: Settings, rules: SettingRules): string[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const [place, old, rule] = [`${where}.${key}`, before[key], Object.hasOwn(rules, key) ? rules[key] : {}];
    if (isRule(rule!)) return [];
    if (isGroup(old) && isGroup(value)) return fractions(place, old, value, rule as SettingRules);
    if (!(Number.isInteger(old) && (old as number) >= 2) || !Number.isFinite(value) || Number.isInteger(value))
      return [];
    return [
      `${place} is ${value}; needed is a whole number, as ${old} is, which a rule in the record could say otherwise`,
    ];
  });
}

const isGroup = (value: unknown): value is Settings =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isRule = (rule: SettingRule | SettingRules): rule is SettingRule => typeof rule.accepts === "function";
