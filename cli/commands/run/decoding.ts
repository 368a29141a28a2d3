/** Shared by modes that generate text: the token limit. */
import { UsageError } from "../../../compiler/index.ts";
import type { GenerateMode } from "../../../dsl/index.ts";
import type { NamedModel } from "./opened-model.ts";

/** Maximum tokens of a text of the model. */
export const limitOf = ({ limit }: Pick<GenerateMode, "limit">, { config }: Pick<NamedModel, "config">): number =>
  typeof limit === "number" ? limit : limit(config!);

/** Throws UsageError if the prompt and the new tokens exceed the model's limit. */
export function requireRoom(begun: number, maxNewTokens: number, limit: number, what: string): void {
  if (begun + maxNewTokens <= limit) return;
  throw new UsageError(
    `${what} and --max-tokens need ${begun + maxNewTokens} tokens; the model takes at most ${limit}`,
  );
}
