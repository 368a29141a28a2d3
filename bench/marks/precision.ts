/** Computing in f16, where the backend can. */
import type { CompileOptions } from "../../backends/backend.ts";
import type { MarkContext } from "./mark.ts";

export interface Half {
  readonly options: CompileOptions;
  /** Whether f16 can be asked for at all. */
  readonly isThere: boolean;
  readonly note?: string;
}

/** What compiles a graph for f16, and what should be known where it is not computed in f16. */
export function halfOptions({ backend }: MarkContext): Half {
  if (!("precision" in backend))
    return { options: {}, isThere: false, note: "weights in f16, computed in f32: f16 is not there yet" };
  const options = { precision: "f16" } as CompileOptions;
  return backend.gpu.features.has("shader-f16")
    ? { options, isThere: true }
    : { options, isThere: true, note: "weights in f16, computed in f32: no shader-f16 here" };
}
