/**
 * Checks of the numbers that optimizers take: Node runs TypeScript without type checking, and a wrong one would train
 * something else, or nothing, without a word.
 */
import { UsageError } from "../../compiler/index.ts";
import { isPlain, kindOfValue } from "../declared.ts";
import { checkOptions } from "../options.ts";

/** What a setting must be. */
export interface SettingKind {
  readonly needed: string;
  readonly accepts: (value: unknown) => boolean;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

/** A decay such as Adam's betas: how much of a running mean is kept at each step. */
export const decayRate: SettingKind = {
  needed: "a number of at least 0 and below 1",
  accepts: (value) => isNumber(value) && value >= 0 && value < 1,
};
export const notNegative: SettingKind = {
  needed: "a number of at least 0",
  accepts: (value) => isNumber(value) && value >= 0,
};
export const aboveZero: SettingKind = {
  needed: "a number above 0",
  accepts: (value) => isNumber(value) && value > 0,
};
export const flag: SettingKind = { needed: "true or false", accepts: (value) => typeof value === "boolean" };
export const callback: SettingKind = {
  needed: "a function of a parameter's name",
  accepts: (value) => typeof value === "function",
};

/** What Adam's options must be. */
export const adamSettings = { beta1: decayRate, beta2: decayRate, epsilon: notNegative };

/** An update rule, as far as its fields say. */
export const anUpdateRule: SettingKind = {
  needed: "an update rule, such as lamb() or one that updateRule returns",
  accepts: (value) =>
    isPlain(value) && typeof value.name === "string" && isPlain(value.state) && typeof value.update === "function",
};

/** One message for each of these settings that is given and is not what it must be. */
export const settingFaults = (
  at: string,
  given: object,
  kinds: Readonly<Partial<Record<string, SettingKind>>>,
): string[] =>
  Object.entries(given).flatMap(([name, value]) => {
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (!kind || value === undefined || kind.accepts(value)) return [];
    return [`${name} of ${at} must be ${kind.needed}, got ${kindOfValue(value)}`];
  });

/** Throws UsageError for an option of an update rule that it does not have, or that is not what it must be. */
export function checkRuleOptions<O extends object>(
  rule: string,
  options: O,
  kinds: Readonly<Record<keyof O & string, SettingKind>>,
): void {
  const known = Object.fromEntries(Object.keys(kinds).map((name) => [name, true as const]));
  checkOptions(rule, options, known as Readonly<Record<keyof O & string, true>>);
  const faults = settingFaults(rule, options, kinds);
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}
