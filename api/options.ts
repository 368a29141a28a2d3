/** Option checks for callers who may write JavaScript, where a misspelt option would be ignored. */
import { didYouMean, type Precision, precisions, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";

/** The type of an option. */
export interface Kind {
  readonly is: (value: unknown) => boolean;
  /** A description that completes "expected ...". */
  readonly needed: string;
  /** Whether it is required. Default false. */
  readonly always?: boolean;
}

/** All options of a function; `tsc` rejects a table that lacks one. */
export type OptionTable<T> = { readonly [name in keyof Required<T>]: Kind };

export const isRecord = (value: unknown): boolean =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Map);

/** One of some words. */
export function oneOf<T extends string>(values: readonly T[]): Kind {
  return { is: (value) => values.includes(value as T), needed: values.map((v) => `"${v}"`).join(" or ") };
}

/** Option types that several functions share. */
export const kinds = {
  /** Checked by the code that uses it, with its own message. */
  anything: { is: (value) => value !== null, needed: "a value" },
  flag: { is: (value) => typeof value === "boolean", needed: "true or false" },
  number: { is: (value) => typeof value === "number", needed: "a number" },
  text: { is: (value) => typeof value === "string" && value !== "", needed: "a string" },
  callback: { is: (value) => typeof value === "function", needed: "a function" },
  settings: { is: isRecord, needed: "an object of settings by name" },
  sizes: { is: isRecord, needed: "an object of numbers by symbolic size, such as { batch: 8 }" },
  signal: {
    is: (value) => typeof (value as AbortSignal | null)?.aborted === "boolean",
    needed: "an AbortSignal, such as the `signal` of an AbortController",
  },
  precision: oneOf<Precision>(precisions),
} as const satisfies Readonly<Record<string, Kind>>;

/** A required option. */
export const always = (kind: Kind): Kind => ({ ...kind, always: true });

/**
 * Throws one UsageError listing all faults in the options of `call`: unknown names, wrong types and missing required
 * ones. An undefined option counts as absent.
 */
export function requireOptions<T extends object>(call: string, given: T, table: OptionTable<T>): void {
  const known = Object.keys(table);
  if (!isRecord(given))
    throw new UsageError(
      `the options of ${call} must be an object with ${known.join(", ")}, got ${kindOfValue(given)}`,
    );
  const kinds = table as Readonly<Record<string, Kind>>;
  const values = given as Readonly<Record<string, unknown>>;
  const faults = [
    ...Object.keys(values)
      .filter((name) => !Object.hasOwn(kinds, name))
      .map((name) => `${call} has no option "${name}"${didYouMean(name, known) || `; it has ${known.join(", ")}`}`),
    ...Object.entries(kinds).flatMap(([name, { is, needed, always }]) => {
      const value = values[name];
      if (value === undefined) return always ? [`${call} requires the option "${name}": ${needed}`] : [];
      return is(value) ? [] : [`the option "${name}" of ${call} is ${kindOfValue(value)}; expected ${needed}`];
    }),
  ];
  if (faults.length > 0) throw new UsageError(faults.join("\n"));
}
