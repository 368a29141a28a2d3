/** What modes that write have in common: the limit of a decoder, and the ids that a prompt begins with. */
import { UsageError } from "../../../compiler/index.ts";
import type { Tokenizer } from "../../../data/index.ts";
import type { GenerateMode, Piece } from "../../../dsl/index.ts";
import { textIds } from "../../../runtime/index.ts";
import type { NamedModel } from "./opened-model.ts";

/** The most tokens that a text of the model may have. */
export const limitOf = ({ limit }: Pick<GenerateMode, "limit">, { config }: Pick<NamedModel, "config">): number =>
  typeof limit === "number" ? limit : limit(config!);

/** Throws UsageError where a prompt and what is to be written do not fit into the model's limit. */
export function requireRoom(begun: number, maxNewTokens: number, limit: number, what: string): void {
  if (begun + maxNewTokens <= limit) return;
  throw new UsageError(`${what} and --max-tokens are ${begun + maxNewTokens} tokens; the model takes ${limit}`);
}

/**
 * The ids of a prompt: after what the model's record says it begins with, else as the tokenizer's own template begins texts.
 * An end that the template puts after them is left out. Throws UsageError for a prompt of no tokens.
 */
export function promptIds(tokenizer: Tokenizer, prompt: string, begin: readonly Piece[] | undefined): number[] {
  const byTemplate = () => {
    const ids = [...tokenizer.encodeByTemplate(prompt)];
    return prompt !== "" && ids.length > 1 && ids.at(-1) === tokenizer.eos ? ids.slice(0, -1) : ids;
  };
  const before = (begin ?? []).flatMap((piece) =>
    typeof piece === "string" ? textIds(tokenizer, piece) : [tokenizer[piece.special]],
  );
  const ids = begin ? [...before, ...textIds(tokenizer, prompt)] : byTemplate();
  if (ids.length > 0) return ids;
  throw new UsageError("the prompt has no tokens: give --prompt some text to go on from");
}
