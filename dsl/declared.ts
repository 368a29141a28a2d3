/**
 * Checks of what a user's record says, at its declaration: Node runs TypeScript without checking types, and a field that is
 * misspelt would be passed over in silence.
 */
import { type Birth, captureBirth, didYouMean, UsageError } from "../compiler/index.ts";

/** A mistake of a record that shows only later, as an error whose stack is that of the record's declaration. */
export function declarationFault(at: Birth, message: string): UsageError {
  const error = new UsageError(message);
  const [, ...frames] = at.stack?.stack?.split("\n") ?? [];
  if (frames.length > 0) error.stack = [`${error.name}: ${message}`, ...frames].join("\n");
  return error;
}

const declarations = new WeakMap<object, Birth>();

/** Keeps where a part of a record is declared, for mistakes in it that show only later. */
export const keepDeclaration = (part: object, at: Birth): void => void declarations.set(part, at);

/** A mistake in a part of a record, with the place of its declaration where that is known. */
export function faultIn(part: object, message: string): UsageError {
  const at = declarations.get(part);
  return at ? declarationFault(at, message) : new UsageError(message);
}

/** Where a record is declared: with the frames up to the command that reads its file. */
export const declaredHere = (): Birth => captureBirth(64);

/** What something is that ought to be something else, for people. */
export function kindOfValue(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value === "function") return "a function";
  if (isPromise(value)) return "a promise";
  if (isTensor(value)) return "a tensor";
  return typeof value === "object" ? "an object" : `the ${typeof value} ${JSON.stringify(value)}`;
}

export const isPromise = (value: unknown): boolean => typeof (value as { then?: unknown } | null)?.then === "function";

/** Whether a value is a node of a graph. */
export const isTensor = (value: unknown): boolean =>
  Array.isArray((value as { type?: { axes?: unknown } } | null | undefined)?.type?.axes);

/** A plain record: no list, promise, function or tensor. */
export const isPlain = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !isPromise(value) && !isTensor(value);

/** The mistakes of a record's fields: those that it does not have, in `known`, are misspelt. */
export function strayFields(what: string, value: object, known: readonly string[]): string[] {
  return Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => `${what} has no field "${key}"${didYouMean(key, known) || `. It has: ${known.join(", ")}.`}`);
}

/** Throws one UsageError with all mistakes, if there are any. */
export function refuse(mistakes: readonly string[]): void {
  if (mistakes.length > 0) throw new UsageError(mistakes.join("\n"));
}
