/** Computing in f16, if the adapter can. */
import type { CompileOptions } from "../../backends/backend.ts";
import type { MarkContext } from "./mark.ts";

export interface Half {
  readonly options: CompileOptions;
  /** Why it is not computed in f16. */
  readonly note?: string;
}

/** Compile options for f16. */
export function halfOptions({ backend }: MarkContext): Half {
  const { computes, why } = backend.precision({ precision: "f16" });
  return { options: { precision: "f16" }, ...(computes === "f32" && { note: `computed in f32: ${why}` }) };
}
