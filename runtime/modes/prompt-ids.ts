/** Prompt ids for text continuation. */
import { UsageError } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import type { Piece } from "../../dsl/index.ts";
import { idsOf, textIds } from "./chat-templates.ts";

/**
 * The ids of a prompt, prefixed as the model's record says, or else as by the tokenizer's own template. An EOS that the
 * template appends is dropped. Throws UsageError for a prompt without tokens.
 */
export function promptIds(tokenizer: Tokenizer, prompt: string, begin: readonly Piece[] | undefined): number[] {
  const byTemplate = () => {
    const ids = [...tokenizer.encodeByTemplate(prompt)];
    return prompt !== "" && ids.length > 1 && ids.at(-1) === tokenizer.eos ? ids.slice(0, -1) : ids;
  };
  const ids = begin ? [...idsOf(tokenizer, begin), ...textIds(tokenizer, prompt)] : byTemplate();
  if (ids.length > 0) return ids;
  throw new UsageError("the prompt has no tokens: give it some text to continue from");
}
