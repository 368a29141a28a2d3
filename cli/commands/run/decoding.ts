/** What modes that write have in common: the limit of a decoder. */
import { UsageError } from "../../../compiler/index.ts";
import type { GenerateMode } from "../../../dsl/index.ts";
import type { NamedModel } from "./opened-model.ts";

/** The most tokens that a text of the model may have. */
export const limitOf = ({ limit }: Pick<GenerateMode, "limit">, { config }: Pick<NamedModel, "config">): number =>
  typeof limit === "number" ? limit : limit(config!);

/** Throws UsageError where a prompt and what is to be written do not fit into the model's limit. */
export function requireRoom(begun: number, maxNewTokens: number, limit: number, what: string): void {
  if (begun + maxNewTokens <= limit) return;
  throw new UsageError(`${what} and --max-tokens are ${begun + maxNewTokens} tokens; the model takes ${limit}`);
}
