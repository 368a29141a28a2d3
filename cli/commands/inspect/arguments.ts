/** The arguments of `heddle inspect`. */
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
  /** A pattern of kernel names; true for all. */
  readonly kernels?: string | true;
  readonly adapter: string;
  readonly fixed: boolean;
  /** Times the kernels on this machine's GPU. */
  readonly measure: boolean;
  readonly html?: string;
  readonly sweep: readonly string[];
  readonly budget?: number;
  /** The memory budget; in bytes, since no device is opened. */
  readonly memory?: MemoryBudget;
  readonly device?: string;
}

/** The arguments as given: `batch` defaults to 1, and for a job to its own. */
export type InspectOptions = Omit<InspectArguments, "batch"> & { readonly batch?: number };
