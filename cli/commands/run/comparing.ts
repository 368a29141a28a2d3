/** Texts as a model compares them with pictures, by the words of its record. */
import { type Tokenizer, withTokens } from "../../../data/index.ts";
import type { CompareMode } from "../../../dsl/index.ts";
import type { OpenedTokenizer } from "./tokenizing.ts";

/** What stands before every text: what is asked for, else what the record says; bytes have no conventions. */
export const prefixOf = ({ prefix = "" }: CompareMode, { bytes }: OpenedTokenizer, asked: string | undefined): string =>
  asked ?? (bytes ? "" : prefix);

/** A text as it is retrieved and looked for; bytes stay as they are. */
export const asQuery =
  (mode: CompareMode, tokenizer: OpenedTokenizer, prefix: string | undefined) =>
  (text: string): string =>
    prefixOf(mode, tokenizer, prefix) + (tokenizer.bytes ? text : (mode.clean?.(text) ?? text));

/** The tokenizer as the model's record has it: its padding, which models take for no token, and its special tokens. */
export function tokenizerOf<T extends Tokenizer>(tokenizer: T, { pad = 0, special = "around" }: CompareMode): T {
  const byTemplate: Tokenizer["encode"] = (text, most) => cut(tokenizer, tokenizer.encodeByTemplate(text), most);
  return withTokens(tokenizer, { pad, ...(special === "template" && { encode: byTemplate }) });
}

/** Cuts a text, not the special tokens after it. */
function cut({ encodeByTemplate }: Tokenizer, ids: readonly number[], most: number): readonly number[] {
  if (ids.length <= most) return ids;
  const specials = encodeByTemplate("");
  const after = specials.findLastIndex((id, i) => id !== ids[ids.length - specials.length + i]);
  const kept = specials.length - 1 - after;
  return [...ids.slice(0, most - kept), ...ids.slice(ids.length - kept)];
}
