/**
 * Which tokens may come next, beside the end tokens that a minimum length bars: forced and suppressed tokens and
 * repeated n-grams, as in transformers' `LogitsProcessor`s (version 5), which apply them to the log-probabilities of a
 * beam search without renormalizing.
 */
import type { TokenRules } from "../../dsl/index.ts";

/** What may follow a text: any token that is not barred, or only those that are forced. */
export interface Allowed {
  readonly barred: readonly number[];
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

/** What may follow the new tokens of a text, which follow its prompt. */
export function allowedNext(
  { eos, minNewTokens = 0, maxNewTokens, rules = {} }: RuleLimits,
  prompt: readonly number[],
  tokens: readonly number[],
): Allowed {
  const { forcedBos, forcedEos, suppress = [], beginSuppress = [], noRepeatNgram } = rules;
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
  const repeated = noRepeatNgram === undefined ? [] : repeating([...prompt, ...tokens], noRepeatNgram);
  return { barred: [...tooEarly, ...suppressed, ...repeated] };
}

/** Tokens that would repeat an n-gram of the text. */
function repeating(text: readonly number[], size: number): number[] {
  const last = text.length - size + 1; // where the n-gram to complete begins
  if (last < 0) return [];
  const isSame = (at: number) => {
    for (let i = 0; i < size - 1; i++) if (text[at + i] !== text[last + i]) return false;
    return true;
  };
  return Array.from({ length: last }, (_, at) => at)
    .filter(isSame)
    .map((at) => text[at + size - 1]!);
}

/** How many tokens the rules can bar in a step; undefined if that depends on the text. */
export function mostBarred({ eos, minNewTokens = 0, rules = {} }: RuleLimits): number | undefined {
  if (rules.noRepeatNgram !== undefined) return undefined;
  const { suppress = [], beginSuppress = [] } = rules;
  return (minNewTokens > 0 ? eos.length : 0) + suppress.length + beginSuppress.length;
}
