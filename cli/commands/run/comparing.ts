/** Texts as a model compares them with pictures, by the words of its record. */
import { byteTokenizer, type Tokenizer } from "../../../data/index.ts";
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

/** The tokenizer with the padding of the model's record, which models take for no token. */
export const padded = <T extends Tokenizer>(tokenizer: T, { pad = byteTokenizer.pad }: CompareMode): T => ({
  ...tokenizer,
  pad,
});
