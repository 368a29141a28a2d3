/**
 * What makes a caption useless, as rules that anybody can read. InternVL names these signals and publishes no rule for them
 * (arXiv:2312.14238, appendix on data): those here are this project's own.
 */

/** Whether a caption is at fault. */
export type CaptionFault = (caption: string) => boolean;

const letters = (caption: string) => caption.match(/\p{L}/gu)?.length ?? 0;
const share = <T>(values: readonly T[], is: (value: T) => boolean) =>
  values.length === 0 ? 0 : values.filter(is).length / values.length;

/** Breaks off: ends in an ellipsis, a comma, an open bracket or a word that something must follow. */
const isBrokenOff: CaptionFault = (caption) =>
  /(\.\.\.|…|[,;:([{&/+–-])$/u.test(caption.trim()) ||
  /(^|\s)(a|an|the|and|or|of|with|in|on|at|to|for|from|by|as|is|are|his|her|their)$/i.test(caption.trim()) ||
  count(caption, /[([{（]/gu) > count(caption, /[)\]}）]/gu);

/** Cannot be read: few letters, characters that stand for broken ones, or a word without end. */
const isUnreadable: CaptionFault = (caption) => {
  const visible = caption.replace(/\s/gu, "");
  if (/[\uFFFD\p{Cc}\p{Co}]/u.test(caption.replace(/[\t\r\n]/g, ""))) return true;
  return [...visible].length === 0 || letters(visible) / [...visible].length < 0.5 || /[A-Za-z]{40,}/.test(caption);
};

/** Latin words that are none: no vowel, five consonants in a row, one letter over and over, or digits within. */
const isGibberish: CaptionFault = (caption) => {
  const words = caption.match(/[A-Za-z0-9_]{4,}/g) ?? [];
  const isNoWord = (word: string) =>
    /([A-Za-z])\1{3}/.test(word) ||
    /[A-Za-z]\d+[A-Za-z]/.test(word) ||
    /[bcdfghjklmnpqrstvwxz]{6}/i.test(word) ||
    (/^[a-z]+$/i.test(word) && !/[aeiouy]/i.test(word) && word !== word.toUpperCase());
  return words.length > 0 && share(words, isNoWord) >= 0.5;
};

/** Menus, error messages and shop buttons. */
const isBoilerplate: CaptionFault = (caption) =>
  /\b(page not found|access denied|error \d{3}|404 error|forbidden|all rights reserved|terms of (use|service)|privacy policy|accept cookies|enable javascript|sign (in|up)|log ?in|add to (cart|basket|wishlist)|click here|read more|view more|free shipping|subscribe now|share this)\b/i.test(
    caption,
  ) || caption.split(/\s*[|>»•·]\s*/u).filter((part) => part !== "").length >= 4;

/** Says the same again: a half twice, or few of its words or pairs of words only once. */
const isRepetitive: CaptionFault = (caption) => {
  const words = caption.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  if (words.length < 4) return false;
  const half = words.length / 2;
  if (Number.isInteger(half) && words.slice(0, half).join() === words.slice(half).join()) return true;
  return new Set(words).size / words.length < 0.45;
};

/** A name that a camera, a page or a program gave. */
const isPlaceholder: CaptionFault = (caption) =>
  /^\W*((the |an? |my |this )?(image|img|photo|picture|pic|thumbnail|thumb|icon|logo|untitled|unnamed|placeholder|default|loading|null|undefined|none|nan|n\/a|test|screenshot|image not (found|available)|no (image|photo|picture|caption|description)( available)?|(image|photo|picture) coming soon)[\s_-]*\d*|(img|image|dsc[nf]?|pict?|mvi|pxl|screenshot)[\s_-]?\d[\w\s.-]*|lorem ipsum.*|[\w-]+\.(jpe?g|png|gif|webp|bmp))\W*$/is.test(
    caption.trim(),
  ) ||
  /\b(image|photo) coming soon\b|\bclick (on (the )?)?(image|photo|picture)?\s*to (enlarge|zoom)\b|lorem ipsum/i.test(
    caption,
  );

/** Markup, or a line of a program. */
const isCode: CaptionFault = (caption) =>
  /<\/?[a-z][^<>]*>|&(nbsp|amp|quot|lt|gt|#\d+);|\b(function|class|def|return|const|var|let)\b[^.({=;]{0,99}[({=;]|=>|#include\b|\bselect\b.{1,99}?\bfrom\b.{1,99}?\bwhere\b|\{\{|\}\}|;\s*$|\w\([\w, ]{0,99}\);|\{[^{}:]{0,99}:[^{};]{0,99};/i.test(
    caption,
  );

const count = (text: string, pattern: RegExp) => text.match(pattern)?.length ?? 0;

/** What is wrong with a text of any length shows in its beginning; patterns over more would take for ever on hostile texts. */
const judgedCharacters = 1000;
const ofBeginning =
  (isFaulty: CaptionFault): CaptionFault =>
  (caption) =>
    isFaulty(caption.slice(0, judgedCharacters));

/** By the names that filters give them. */
export const captionFaults = {
  "broken-off": (caption) => isBrokenOff(caption.slice(-judgedCharacters)),
  unreadable: ofBeginning(isUnreadable),
  gibberish: ofBeginning(isGibberish),
  boilerplate: ofBeginning(isBoilerplate),
  repetition: ofBeginning(isRepetitive),
  placeholder: ofBeginning(isPlaceholder),
  code: ofBeginning(isCode),
} as const satisfies Readonly<Record<string, CaptionFault>>;

/** Whether any of the words or phrases is in a caption, as a word of its own where its script has words. */
export function holdsAnyOf(words: readonly string[]): CaptionFault {
  const escaped = words.map((word) => {
    const literal = word.split(/\s+/).map(RegExp.escape).join("\\s+");
    // Scripts that are written without spaces have no borders to look for.
    const hasBorders = !/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u.test(word);
    return hasBorders ? `(?<![\\p{L}\\p{N}])${literal}(?![\\p{L}\\p{N}])` : literal;
  });
  const pattern = new RegExp(escaped.join("|"), "iu");
  return (caption) => pattern.test(caption.normalize("NFC"));
}
