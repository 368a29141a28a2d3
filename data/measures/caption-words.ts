/**
 * Words of captions as coco-caption counts them: those of the Penn Treebank tokenizer (Stanford CoreNLP 3.4.1,
 * PTBTokenizer) in lower case, without the marks on coco-caption's list.
 */

/** Abbreviations that keep their period. */
const abbreviations = `adm apr aug ave bldg blvd bros capt cf cmdr co col corp cpl ct dec dept dr etc feb fig fri ft
  gen gov hon inc jan jr lt ltd messrs mr mrs ms mt nov oct op pl prof pvt rd rep rev sat sen sept sgt sr st ste vs wed`
  .split(/\s+/)
  .join("|");

const word = "[\\p{L}\\p{M}\\p{N}_]";

/** In this order; what none of them matches is dropped. */
const tokens = new RegExp(
  [
    "https?:\\/\\/\\S*[\\p{L}\\p{N}]",
    `${word}[\\p{L}\\p{N}._-]*@${word}+(?:[.-]${word}+)+`,
    `(?<!${word})(?:\\p{L}\\.){2,}(?!${word})`, // a.m., U.S.
    `(?<!${word})(?:${abbreviations}|no(?=\\.\\s*\\d))\\.(?!\\p{L})`,
    `(?<![\\p{L}\\p{M}\\p{N}_'])\\p{L}\\.(?!\\p{L})`, // J. Smith
    "n't",
    "'(?:s|re|ve|ll|d|m|em|cause|n'|\\d\\ds?)(?!\\p{L})",
    `(?:(?<!\\S)-(?=\\d))?${word}+(?:(?:[-/]|'(?=\\p{L})|(?<=\\p{L})\\.(?=\\p{L})|(?<=\\d)[.,:](?=\\d))${word}+)*`,
    `[#@]\\p{L}${word}*`,
    "[!?]{2,}",
    "[%$#&*+=@~^|\\\\/<>®™°¥€£()[\\]{}]",
  ].join("|"),
  "gu",
);

/** How the tokenizer writes some marks. */
const written: Readonly<Record<string, string>> = {
  "(": "-lrb-",
  ")": "-rrb-",
  "[": "-lsb-",
  "]": "-rsb-",
  "{": "-lcb-",
  "}": "-rcb-",
  "€": "$",
  "£": "#",
};

/**
 * Lower-case words, with English clitics split off ("don't" becomes "do n't"). Punctuation is dropped, except brackets
 * and repeated marks ("!!"), which coco-caption's list does not name. Compared with the tokenizer on English captions;
 * may differ for rare abbreviations, slang and other scripts.
 */
export function captionWords(text: string): readonly string[] {
  const line = text
    .toLowerCase()
    .replace(/[\u2018\u2019]/g, "'")
    .replace(/n't\b/g, " n't ")
    .replace(/'(s|re|ve|ll|d|m)\b/g, " '$1 ")
    .replace(/\b(can(?=not\b)|(?:gon|wan)(?=na\b)|got(?=ta\b)|(?:lem|gim)(?=me\b))/g, "$1 ")
    .replace(/(?<=\p{L})'n'(?=\p{L})/gu, " 'n' ");
  return Array.from(line.matchAll(tokens), ([token]) => written[token] ?? token);
}
