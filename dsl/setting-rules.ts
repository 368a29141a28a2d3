/** Validity rules of a model's settings, so that an invalid one is reported by name before anything is built. */
import { shown, UsageError } from "../compiler/index.ts";

export { shown };

/** The rule of one setting. */
export interface SettingRule {
  /** Completes the message "expected ...": "an integer from 1 to 1000". */
  readonly needed: string;
  readonly accepts: (value: unknown) => boolean;
}

type Settings = { readonly [key: string]: unknown };

/** Rules by setting, nested like the configuration. */
export type SettingRules = { readonly [key: string]: SettingRule | SettingRules };

/** An integer in a range, both ends included. */
export const whole = (least: number, most: number): SettingRule => ({
  needed: `an integer from ${least} to ${most}`,
  accepts: (value) => Number.isInteger(value) && (value as number) >= least && (value as number) <= most,
});

/** A count: an integer, 1 or more. */
export const count: SettingRule = {
  needed: "a positive integer",
  accepts: (value) => Number.isSafeInteger(value) && (value as number) >= 1,
};

/** A number above 0. */
export const positive: SettingRule = {
  needed: "a positive number",
  accepts: (value) => typeof value === "number" && value > 0,
};

/** A fraction from 0 to below 1. */
export const share: SettingRule = {
  needed: "a number in [0, 1)",
  accepts: (value) => typeof value === "number" && value >= 0 && value < 1,
};

/** A number, 0 or more. */
export const notNegative: SettingRule = {
  needed: "a non-negative number",
  accepts: (value) => typeof value === "number" && value >= 0,
};

/** A fraction above 0, at most 1. */
export const partOf: SettingRule = {
  needed: "a number in (0, 1]",
  accepts: (value) => typeof value === "number" && value > 0 && value <= 1,
};

/** A number from 0 to 1, both included. */
export const probability: SettingRule = {
  needed: "a number in [0, 1]",
  accepts: (value) => typeof value === "number" && value >= 0 && value <= 1,
};

/** One of some words; the empty string is shown as "nothing". */
export const word = (...words: readonly string[]): SettingRule => ({
  needed: `one of ${words.map((each) => each || "nothing").join(", ")}`,
  accepts: (value) => words.includes(value as string),
});

/** A non-empty list whose values all satisfy one rule. */
export const listOf = ({ needed, accepts }: SettingRule): SettingRule => ({
  needed: `a list in which each value is ${needed}`,
  accepts: (value) => Array.isArray(value) && value.length > 0 && value.every(accepts),
});

/** Throws one UsageError naming every setting that its rule rejects. Settings without a rule may be anything. */
export function checkSettings(where: string, config: Settings, rules: SettingRules): void {
  const faults = faultsOf(where, config, rules);
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}

function faultsOf(where: string, config: Settings, rules: SettingRules): string[] {
  return Object.entries(rules).flatMap(([key, rule]) => {
    const [place, value] = [`${where}.${key}`, config[key]];
    if (value === undefined) return [];
    if (!isRule(rule)) return faultsOf(place, value as Settings, rule);
    return rule.accepts(value) ? [] : [`${place} is ${shown(value)}; expected ${rule.needed}`];
  });
}

/**
 * Throws one UsageError naming every setting without a rule that was changed from an integer of 2 or more to a
 * fraction: half a layer is a mistake that would otherwise be built. 0 and 1 are exempt, as they are also defaults of
 * rates and factors.
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
      `${place} is ${value}; expected an integer, since the default is ${old} (the rules of the model can allow fractions)`,
    ];
  });
}

const isGroup = (value: unknown): value is Settings =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isRule = (rule: SettingRule | SettingRules): rule is SettingRule => typeof rule.accepts === "function";
