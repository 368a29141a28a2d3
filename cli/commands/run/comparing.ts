/** Prepares texts for contrastive models, by their record. */
import type { Graph } from "../../../compiler/index.ts";
import { type Tokenizer, withTokens } from "../../../data/index.ts";
import type { CompareMode } from "../../../dsl/index.ts";
import { graphOf, type NamedModel } from "./opened-model.ts";
import type { OpenedTokenizer } from "./tokenizing.ts";

/** The graph that has both towers, whose outputs are checked by `requireOutputs`. */
export const towersGraph = (named: NamedModel): Graph => graphOf(named, named.model?.modes?.compare?.graph);

/** The prefix of every text: the one given, else the record's; none with the byte tokenizer. */
export const prefixOf = ({ prefix = "" }: CompareMode, { bytes }: OpenedTokenizer, asked: string | undefined): string =>
  asked ?? (bytes ? "" : prefix);

/** Cleans a text for retrieval; with the byte tokenizer it is unchanged. */
export const asQuery =
  (mode: CompareMode, tokenizer: OpenedTokenizer, prefix: string | undefined) =>
  (text: string): string =>
    prefixOf(mode, tokenizer, prefix) + (tokenizer.bytes ? text : (mode.clean?.(text) ?? text));

/** The tokenizer with the padding and special tokens of the model's record; models ignore padding. */
export function tokenizerOf<T extends Tokenizer>(tokenizer: T, { pad = 0, special = "around" }: CompareMode): T {
  const byTemplate: Tokenizer["encode"] = (text, most) => cut(tokenizer, tokenizer.encodeByTemplate(text), most);
  return withTokens(tokenizer, { pad, ...(special === "template" && { encode: byTemplate }) });
}

/** Truncates a text, but not the special tokens after it. */
function cut({ encodeByTemplate }: Tokenizer, ids: readonly number[], most: number): readonly number[] {
  if (ids.length <= most) return ids;
  const specials = encodeByTemplate("");
  const after = specials.findLastIndex((id, i) => id !== ids[ids.length - specials.length + i]);
  const kept = specials.length - 1 - after;
  return [...ids.slice(0, most - kept), ...ids.slice(ids.length - kept)];
}
