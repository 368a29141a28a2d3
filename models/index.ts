/** Models that come with heddle, by the names the command line knows. */
import type { Model } from "../dsl/index.ts";
import { type Bundled, internvlFamily } from "./internvl/index.ts";

export * from "./internvl/index.ts";

/** Every bundled model with its checkpoint layout. */
export const bundled: readonly Bundled[] = internvlFamily;

/** Every bundled model. */
export const bundledModels: readonly Model[] = bundled.map((b) => b.model);
