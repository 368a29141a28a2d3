/**
 * Which tokens may come next, and whose scores are changed: the `LogitsProcessor`s of transformers (version 5), which
 * apply to the logits of greedy decoding and sampling, and to the log-probabilities of a beam search, without
 * renormalizing. Penalties come first; of the others, the forced tokens override all that are before them in
 * transformers' list, and the suppressed ones override the forced.
 */
import { UsageError } from "../../compiler/index.ts";
import type { TokenRules } from "../../dsl/index.ts";

/** Tokens whose scores are divided by a factor where positive, and multiplied by it where negative. */
export interface Penalty {
  readonly tokens: ReadonlySet<number>;
  readonly factor: number;
}

/** What may follow a text: any token that is not barred, or only those that are forced. */
export interface Allowed {
  readonly barred: readonly number[];
  /** Applied in order, before tokens are barred; none where tokens are forced. */
  readonly penalties?: readonly Penalty[];
  /** Scored 0 unless barred, all others −∞. */
  readonly forced?: readonly number[];
}

/** The limits of a text that the rules depend on. */
export interface RuleLimits {
  readonly eos: readonly number[];
  readonly minNewTokens?: number;
  readonly maxNewTokens: number;
  readonly rules?: TokenRules;
}

/** What precedes a text: its prompt, or what the decoder is given first, and the source, a prompt being its own. */
export interface TextContext {
  readonly prompt: readonly number[];
  readonly source?: readonly number[];
}

/** What may follow the new tokens of a text, which follow its prompt. */
export function allowedNext(
  { eos, minNewTokens = 0, maxNewTokens, rules = {} }: RuleLimits,
  { prompt, source = prompt }: TextContext,
  tokens: readonly number[],
): Allowed {
  const { forcedBos, forcedEos, suppress = [], beginSuppress = [] } = rules;
  const forcesFirst = forcedBos !== undefined && prompt.length === 1;
  const forced =
    forcedEos && tokens.length === maxNewTokens - 1
      ? forcedEos
      : forcesFirst && tokens.length === 0
        ? [forcedBos]
        : undefined;
  const suppressed = [...suppress, ...(tokens.length === (forcesFirst ? 1 : 0) ? beginSuppress : [])];
  if (forced) return { barred: suppressed, forced };
  const tooEarly = tokens.length < minNewTokens ? eos : [];
  const text = [...prompt, ...tokens];
  const ofText = [...repeating(rules, text, source), ...completing(rules.badWords ?? [], text, eos)];
  const penalties = penaltiesOf(rules, text, source);
  return { barred: [...tooEarly, ...suppressed, ...ofText], ...(penalties.length > 0 && { penalties }) };
}

function penaltiesOf(
  { repetitionPenalty, sourcePenalty }: TokenRules,
  text: readonly number[],
  source: readonly number[],
): Penalty[] {
  const ofSource = sourcePenalty === undefined ? [] : [{ tokens: new Set(source), factor: 1 / sourcePenalty }];
  return repetitionPenalty === undefined
    ? ofSource
    : [...ofSource, { tokens: new Set(text), factor: repetitionPenalty }];
}

/** Tokens that would repeat an n-gram of the text, or one of its source. */
const repeating = (
  { noRepeatNgram, noSourceNgram }: TokenRules,
  text: readonly number[],
  source: readonly number[],
): number[] => [
  ...(noRepeatNgram === undefined ? [] : afterEnd(text, text, noRepeatNgram)),
  ...(noSourceNgram === undefined ? [] : afterEnd(source, text, noSourceNgram)),
];

/** The last tokens of the n-grams of `source` that begin as `text` ends. */
function afterEnd(source: readonly number[], text: readonly number[], size: number): number[] {
  const end = text.length - size + 1; // where the n-gram to complete begins
  if (end < 0) return [];
  const isSame = (at: number) => {
    for (let i = 0; i < size - 1; i++) if (source[at + i] !== text[end + i]) return false;
    return true;
  };
  return Array.from({ length: Math.max(0, source.length - size + 1) }, (_, at) => at)
    .filter(isSame)
    .map((at) => source[at + size - 1]!);
}

/** The last tokens of the words that the text ends with but for them. An end token may come, as in transformers. */
function completing(words: readonly (readonly number[])[], text: readonly number[], eos: readonly number[]): number[] {
  const isBegun = (word: readonly number[]) =>
    word.length <= text.length && word.slice(0, -1).every((id, i) => id === text[text.length - word.length + 1 + i]);
  const isEnd = (word: readonly number[]) => word.length === 1 && eos.includes(word[0]!);
  return words.filter((word) => !isEnd(word) && (word.length === 1 || isBegun(word))).map((word) => word.at(-1)!);
}

/** How many tokens the rules can bar in a step; undefined if all scores are needed, or that depends on the text. */
export function mostBarred({ eos, minNewTokens = 0, rules = {} }: RuleLimits): number | undefined {
  const { noRepeatNgram, noSourceNgram, repetitionPenalty, sourcePenalty } = rules;
  if ([noRepeatNgram, noSourceNgram, repetitionPenalty, sourcePenalty].some((rule) => rule !== undefined))
    return undefined;
  const { suppress = [], beginSuppress = [], badWords = [] } = rules;
  return (minNewTokens > 0 ? eos.length : 0) + suppress.length + beginSuppress.length + badWords.length;
}

/** Throws UsageError for a rule out of range. */
export function checkRules({ noRepeatNgram, noSourceNgram, repetitionPenalty, sourcePenalty }: TokenRules): void {
  for (const size of [noRepeatNgram, noSourceNgram])
    if (size !== undefined && !(Number.isInteger(size) && size >= 1))
      throw new UsageError(`the size of n-grams that are not repeated must be an integer of at least 1, got ${size}`);
  for (const penalty of [repetitionPenalty, sourcePenalty])
    if (penalty !== undefined && !(penalty > 0 && penalty < Infinity))
      throw new UsageError(`the repetition penalty must be a finite number above 0, got ${penalty}`);
}
