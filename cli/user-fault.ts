/** Distinguishes errors of the user's code from internal ones, by the file of the innermost frame. */
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { callsOf, type HeddleError, printLocation, quoteSource } from "../compiler/index.ts";

/** This package's own code folders; a model or a job may be anywhere else in a checkout. */
const ours = /^(api|backends|bin|cli|compiler|data|dist|dsl|models|runtime)[\\/]/;
const root = fileURLToPath(new URL("../", import.meta.url));

/** Whether a file, by its absolute path, is ours or a library's. */
export const isOurs = (path: string): boolean =>
  isLibrary(path) || (path.startsWith(root) && ours.test(path.slice(root.length)));

const isLibrary = (file: string) => /(^|[\\/])node_modules[\\/]/.test(file);

/**
 * The error and the user's line that threw it, or that called the DSL with an invalid argument. Undefined if our own
 * code comes first.
 */
export function userFault(error: unknown): string | undefined {
  if (!(error instanceof Error))
    return `${typeof error === "string" ? error : inspect(error)} was thrown, which is not an Error, so its line is unknown`;
  const at = callsOf({ stack: error }).find(({ file }) => !isLibrary(file));
  if (!at || ours.test(at.file)) return undefined;
  const hint = isInLanguage(error)
    ? ["  hint: the arguments of this call are not what it takes; --check-types says which"]
    : [];
  return [`${error.name} at ${printLocation(at)}: ${error.message}`, ...quoteSource(at), ...hint].join("\n");
}

/**
 * An error of ours with the user's line that led to it: a call of the DSL, or of what a callback such as `feeds` is
 * given. Unchanged if its message has a location, or if no code of the user's was running.
 */
export function withPlace(error: HeddleError): string {
  const text = `${error.name}: ${error.message}`;
  if (/:\d+:\d+/.test(error.message)) return text;
  const calls = callsOf({ stack: error }).filter(({ file }) => !isLibrary(file));
  const command = calls.findLastIndex(({ file }) => /^(dist[\\/])?(bin|cli)[\\/]/.test(file));
  const at = calls.slice(0, command < 0 ? undefined : command).find(({ file }) => !ours.test(file));
  if (!at) return text;
  return [text, `  at ${printLocation(at)}`, ...quoteSource(at)].join("\n");
}

const language = ["compiler", "dsl"].map((room) => new URL(`../${room}/`, import.meta.url).pathname);

/** Whether it was thrown by the DSL or a record's declaration, rather than by its caller. */
function isInLanguage({ stack = "", message }: Error): boolean {
  const [frame = ""] = stack
    .slice(stack.indexOf(message) + message.length)
    .trimStart()
    .split("\n");
  return language.some((room) => frame.includes(room));
}
