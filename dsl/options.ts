/**
 * Checks of the options of layers: Node runs TypeScript without type checking, so a misspelt option would be ignored.
 */
import { type DType, didYouMean, dtypes, UsageError } from "../compiler/index.ts";
import { kindOfValue } from "./declared.ts";

/** Throws UsageError for an unknown option, listing the known ones. */
export function checkOptions<O extends object>(
  layer: string,
  options: O,
  known: Readonly<Record<keyof O & string, true>>,
): void {
  if (typeof options !== "object" || options === null)
    throw new UsageError(
      `the options of ${layer} must be an object with ${Object.keys(known).join(", ")}, got ${kindOfValue(options)}`,
    );
  const unknown = Object.keys(options).filter((key) => !Object.hasOwn(known, key));
  if (unknown.length === 0) return;
  const names = Object.keys(known);
  const has = names.length === 0 ? "none" : names.join(", ");
  throw new UsageError(
    unknown.map((key) => `${layer} has no option "${key}"${didYouMean(key, names) || "."} It has: ${has}.`).join("\n"),
  );
}

/** The dtype, checked. Throws UsageError for anything else, listing the dtypes. */
export function checkedDType(what: string, dtype: DType): DType {
  if (dtypes.includes(dtype)) return dtype;
  throw new UsageError(`the dtype of ${what} must be one of ${dtypes.join(", ")}, got ${kindOfValue(dtype)}`);
}
