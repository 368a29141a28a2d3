/** What `heddle inspect` is given. */
import type { GraphChoice } from "../../load.ts";
import type { MemoryBudget } from "../../memory-budget.ts";
import type { SizeArguments } from "../../sizes.ts";

export interface InspectArguments extends GraphChoice, SizeArguments {
  readonly json: boolean;
  readonly text: boolean;
  readonly stage?: string;
  readonly target: string;
  readonly dtype: string;
  readonly pass?: string;
  /** A pattern of kernels' names; true where none is given. */
  readonly kernels?: string | true;
  readonly adapter: string;
  readonly fixed: boolean;
  /** Times the kernels on the GPU that is here. */
  readonly measure: boolean;
  readonly html?: string;
  readonly sweep: readonly string[];
  readonly budget?: number;
  /** What the graph may take; in bytes, since no device is opened. */
  readonly memory?: MemoryBudget;
  readonly device?: string;
}

/** As a person gives them: where `batch` is left out, it is 1, and of a job its own. */
export type InspectOptions = Omit<InspectArguments, "batch"> & { readonly batch?: number };
