/** Models that come with heddle, by the names the command line knows. */
import type { Model } from "../dsl/index.ts";
import { internvit6bModel, internvlC } from "./internvl/index.ts";

export * from "./internvl/index.ts";

/** Every bundled model, by name. */
export const bundledModels: readonly Model[] = [internvit6bModel, internvlC] as unknown as readonly Model[];
