/**
 * Checks of users' records at their declaration: Node runs TypeScript without type checking, so a misspelt field would
 * be ignored.
 */
import { type Birth, captureBirth, didYouMean, UsageError } from "../compiler/index.ts";

/** An error for a mistake in a record that only shows later, with the stack of the record's declaration. */
export function declarationFault(at: Birth, message: string): UsageError {
  const error = new UsageError(message);
  const [, ...frames] = at.stack?.stack?.split("\n") ?? [];
  if (frames.length > 0) error.stack = [`${error.name}: ${message}`, ...frames].join("\n");
  return error;
}

const declarations = new WeakMap<object, Birth>();

/** Remembers where a part of a record is declared, for mistakes that only show later. */
export const keepDeclaration = (part: object, at: Birth): void => void declarations.set(part, at);

/** An error for a mistake in a part of a record, at its declaration if that is known. */
export function faultIn(part: object, message: string): UsageError {
  const at = declarations.get(part);
  return at ? declarationFault(at, message) : new UsageError(message);
}

/** The call site of a record's declaration, with frames up to the command that reads its file. */
export const declaredHere = (): Birth => captureBirth(64);

/** Describes a value of the wrong type, for messages. */
export function kindOfValue(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "function") return "a function";
  if (isPromise(value)) return "a promise";
  if (isTensor(value)) return "a tensor";
  if (typeof value === "object") return "an object";
  return `the ${typeof value} ${typeof value === "string" ? JSON.stringify(value) : String(value)}`; // JSON has no NaN
}

export const isPromise = (value: unknown): boolean => typeof (value as { then?: unknown } | null)?.then === "function";

/** Whether a value is a node of a graph. */
export const isTensor = (value: unknown): boolean =>
  Array.isArray((value as { type?: { axes?: unknown } } | null | undefined)?.type?.axes);

/** A plain record: not an array, promise, function or tensor. */
export const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isPromise(value) && !isTensor(value);

/**
 * One message for each default that is no setting: neither a number, a string or a boolean, nor a list or a group of
 * those.
 */
export function valueFaults(at: string, value: unknown, holders: readonly unknown[] = []): string[] {
  if (typeof value === "string" || typeof value === "boolean") return [];
  if (typeof value === "number" && !Number.isNaN(value)) return [];
  if (holders.includes(value)) return [`${at} contains itself`];
  // A Date, a Map or a typed array has no fields that could be stored as settings.
  const builtIn = /^\[object (?!Object\])(\w+)\]$/.exec(Object.prototype.toString.call(value))?.[1];
  if (!Array.isArray(value) && (!isPlain(value) || builtIn !== undefined))
    return [
      `${at} is ${isPlain(value) ? `a value of type ${builtIn}` : kindOfValue(value)}; expected a number, a string, a boolean, or a list or group of those`,
    ];
  return Object.entries(value).flatMap(([key, inner]) => valueFaults(`${at}.${key}`, inner, [...holders, value]));
}

/** One message for each field of a record that is not in `known`. */
export function strayFields(what: string, value: object, known: readonly string[]): string[] {
  return Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => `${what} has no field "${key}"${didYouMean(key, known) || `. It has: ${known.join(", ")}.`}`);
}

/** Throws one UsageError with all mistakes, if any. */
export function refuse(mistakes: readonly string[]): void {
  if (mistakes.length > 0) throw new UsageError(mistakes.join("\n"));
}
