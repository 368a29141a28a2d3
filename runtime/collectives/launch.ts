/** The launch that this process belongs to. */
import { UsageError } from "../../compiler/index.ts";
import { type Environment, type Launch, launchIn } from "./launch-variables.ts";

/** Undefined for a single process. Throws UsageError for variables that are no world size and rank. */
export function launchOf(environment: Environment): Launch | undefined {
  const launch = launchIn(environment);
  if (typeof launch === "string") throw new UsageError(launch);
  return launch;
}
