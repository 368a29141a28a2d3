/** Computing in f16, where the adapter can. */
import type { CompileOptions } from "../../backends/backend.ts";
import type { MarkContext } from "./mark.ts";

export interface Half {
  readonly options: CompileOptions;
  /** What should be known where it is not computed in f16. */
  readonly note?: string;
}

/** What compiles a graph for f16. */
export function halfOptions({ backend }: MarkContext): Half {
  const { computes, why } = backend.precision({ precision: "f16" });
  return { options: { precision: "f16" }, ...(computes === "f32" && { note: `computed in f32: ${why}` }) };
}
