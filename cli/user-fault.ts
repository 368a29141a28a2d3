/** Tells what the user's own code throws from a fault of ours: by whose file the innermost frame lies in. */
import { callsOf, printLocation, quoteSource } from "../compiler/index.ts";

/** Folders of this package whose code is ours; a model or a job may lie anywhere else in a checkout. */
const ours = /^(backends|bin|cli|compiler|data|dist|dsl|models|runtime)[\\/]/;
const isLibrary = (file: string) => /(^|[\\/])node_modules[\\/]/.test(file);

/**
 * What was thrown and the user's line that threw it, or that called the language with what it cannot take. Undefined where
 * code of ours comes first.
 */
export function userFault(error: unknown): string | undefined {
  if (!(error instanceof Error)) return `${String(error)} was thrown, which is no Error, so that no line is known`;
  const at = callsOf({ stack: error }).find(({ file }) => !isLibrary(file));
  if (!at || ours.test(at.file)) return undefined;
  return [`${error.name} at ${printLocation(at)}: ${error.message}`, ...quoteSource(at)].join("\n");
}
