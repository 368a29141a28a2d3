/** Tells what the user's own code throws from a fault of ours: by whose file the innermost frame lies in. */
import { fileURLToPath } from "node:url";
import { inspect } from "node:util";
import { callsOf, type HeddleError, printLocation, quoteSource } from "../compiler/index.ts";

/** Folders of this package whose code is ours; a model or a job may lie anywhere else in a checkout. */
const ours = /^(api|backends|bin|cli|compiler|data|dist|dsl|models|runtime)[\\/]/;
const root = fileURLToPath(new URL("../", import.meta.url));

/** Whether a file, by its whole path, is ours or a library's. */
export const isOurs = (path: string): boolean =>
  isLibrary(path) || (path.startsWith(root) && ours.test(path.slice(root.length)));

const isLibrary = (file: string) => /(^|[\\/])node_modules[\\/]/.test(file);

/**
 * What was thrown and the user's line that threw it, or that called the language with what it cannot take. Undefined where
 * code of ours comes first.
 */
export function userFault(error: unknown): string | undefined {
  if (!(error instanceof Error))
    return `${typeof error === "string" ? error : inspect(error)} was thrown, which is no Error, so that no line is known`;
  const at = callsOf({ stack: error }).find(({ file }) => !isLibrary(file));
  if (!at || ours.test(at.file)) return undefined;
  const hint = isInLanguage(error)
    ? ["  hint: what this call is given is not what it takes; --check-types says what it is"]
    : [];
  return [`${error.name} at ${printLocation(at)}: ${error.message}`, ...quoteSource(at), ...hint].join("\n");
}

/** A mistake that the language found, with the user's line that called it; as it is where it says a place itself. */
export function withPlace(error: HeddleError): string {
  const text = `${error.name}: ${error.message}`;
  if (/:\d+:\d+/.test(error.message) || !isInLanguage(error)) return text;
  const at = callsOf({ stack: error }).find(({ file }) => !isLibrary(file));
  if (!at || ours.test(at.file)) return text;
  return [text, `  at ${printLocation(at)}`, ...quoteSource(at)].join("\n");
}

const language = ["compiler", "dsl"].map((room) => new URL(`../${room}/`, import.meta.url).pathname);

/** Whether it was thrown by the language, or by a record's declaration, rather than by whoever calls it. */
function isInLanguage({ stack = "", message }: Error): boolean {
  const [frame = ""] = stack
    .slice(stack.indexOf(message) + message.length)
    .trimStart()
    .split("\n");
  return language.some((room) => frame.includes(room));
}
