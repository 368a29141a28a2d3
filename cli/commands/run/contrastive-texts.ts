/** What InternVL puts before a text that is compared with images, and how it cleans captions. */
import type { OpenedTokenizer } from "./tokenizing.ts";

/** Every contrastive text begins so. Chen et al. 2023, released code; the pieces are 19138, 675, 29901. */
const contrastivePrefix = "summarize:";

/** The prefix of a tokenizer: none for bytes, which small models are trained on without. */
export const prefixOf = (tokenizer: OpenedTokenizer, asked: string | undefined): string =>
  asked ?? (tokenizer.bytes ? "" : contrastivePrefix);

const mostWords = 50;

/**
 * A caption as retrieval is evaluated: lower case, the characters . ! " ( ) * # : ; ~ as blanks, single blanks, at most
 * 50 words. BLIP's `pre_caption`, which InternVL's evaluation uses.
 */
export const cleanCaption = (text: string): string =>
  text
    .toLowerCase()
    .replace(/[.!"()*#:;~]/g, " ")
    .trim()
    .split(/\s+/)
    .slice(0, mostWords)
    .join(" ");
