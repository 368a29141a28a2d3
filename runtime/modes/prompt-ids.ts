/** Prompt ids for text continuation, and of a source text. */
import { boundsOf, type Graph, inputName, isFeed, UsageError } from "../../compiler/index.ts";
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

/**
 * The ids of a source text, with the special tokens of the tokenizer's own template. Throws UsageError for a text
 * without tokens, and for one that is longer than the bound of the encoder's `input_ids`.
 */
export function sourceIds(tokenizer: Tokenizer, text: string, encoder: Graph): readonly number[] {
  const ids = tokenizer.encodeByTemplate(text);
  if (ids.length === 0) throw new UsageError("the prompt has no tokens: give it some text to encode");
  const input = encoder.inputs.find((n) => isFeed(n) && inputName(n) === "input_ids");
  if (!input)
    throw new UsageError(
      `graph @${encoder.name} does not encode texts: it needs input_ids [batch, token], and may read attention_mask [batch, key_token]`,
    );
  const { max } = boundsOf(input.type.axes.at(-1)!.size);
  if (ids.length <= max) return ids;
  throw new UsageError(`the prompt has ${ids.length} tokens; the encoder takes at most ${max}`);
}
