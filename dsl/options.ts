/** Options of layers, where a misspelt one would be passed over in silence: Node runs TypeScript without checking types. */
import { didYouMean, UsageError } from "../compiler/index.ts";

/** Throws UsageError for an option that the layer does not have, naming it and those that it has. */
export function checkOptions<O extends object>(
  layer: string,
  options: O,
  known: Readonly<Record<keyof O & string, true>>,
): void {
  const unknown = Object.keys(options).filter((key) => !Object.hasOwn(known, key));
  if (unknown.length === 0) return;
  const names = Object.keys(known);
  const has = names.length === 0 ? "none" : names.join(", ");
  throw new UsageError(
    unknown.map((key) => `${layer} has no option "${key}"${didYouMean(key, names) || "."} It has: ${has}.`).join("\n"),
  );
}
