/** What can be salvaged from a line that does not parse: defined names, their types, and the variable of a loop. */
import type { IToken, TokenType } from "chevrotain";
import { parseType } from "./grammar.ts";
import { As, CloseSquare, Colon, Comma, Equals, Identifier, Numeral, Text, Value } from "./tokens.ts";
import { type TypeTree, type Word, wordOf } from "./tree.ts";

const is = (token: IToken | undefined, ...types: readonly TokenType[]): boolean =>
  token !== undefined && types.some((t) => token.tokenType === t || t.categoryMatches?.includes(token.tokenTypeIdx));

/** The values that a statement would define; a name may lack its %: `x = relu %y`. */
export function targetsIn(tokens: readonly IToken[]): Word[] {
  const named = leading(tokens, Value, Numeral, Identifier, Comma);
  const targets = is(tokens[named.length], Equals) ? named : leading(tokens, Value, Comma);
  return targets.flatMap((token, k): Word[] => {
    const goesOn = k > 0 && isPart(token) && !is(targets[k - 1], Comma);
    return is(token, Comma) || goesOn ? [] : [nameOf(token, targets.slice(k + 1))];
  });
}

/**
 * Splits a statement that does not parse into its own line and later ones that would define something: the parser
 * resynchronizes at a well-formed line start, and so swallows a following line whose name lacks its %.
 */
export function statementsIn(tokens: readonly IToken[]): readonly (readonly IToken[])[] {
  const statements: IToken[][] = [];
  for (const line of Map.groupBy(tokens, (t) => t.startLine).values()) {
    const definesSomething = is(line[leading(line, Value, Numeral, Identifier, Comma).length], Equals);
    if (statements.length === 0 || definesSomething) statements.push(line);
    else statements.at(-1)!.push(...line);
  }
  return statements;
}

const isPart = (token: IToken): boolean => is(token, Numeral, Identifier);

/** A name with its following parts: without its %, a dotted name is lexed as several words. */
function nameOf(token: IToken, following: readonly IToken[] = []): Word {
  const end = following.findIndex((t) => !isPart(t));
  const parts = is(token, Value) ? [] : end < 0 ? following : following.slice(0, end);
  return wordOf(token, [token.image.replace(/^%/, ""), ...parts.map((t) => t.image)].join("."));
}

function leading(tokens: readonly IToken[], ...types: readonly TokenType[]): readonly IToken[] {
  const end = tokens.findIndex((t) => !is(t, ...types));
  return tokens.slice(0, end < 0 ? tokens.length : end);
}

/** The type at the end of a statement; undefined if it is broken too. */
export function typeIn(tokens: readonly IToken[]): TypeTree | undefined {
  const colon = tokens.findLastIndex((t) => is(t, Colon));
  return colon < 0 ? undefined : parseType(tokens.slice(colon + 1));
}

/** The values in a signature, with their types if given. */
export function entriesIn(tokens: readonly IToken[]): { readonly value: Word; readonly type: TypeTree | undefined }[] {
  return tokens.flatMap((token, k) => {
    if (!is(token, Value)) return [];
    const rest = tokens.slice(k + 1);
    const next = rest.findIndex((t) => is(t, Value));
    const own = next < 0 ? rest : rest.slice(0, next);
    return [{ value: nameOf(token), type: typeIn(own.slice(0, own.findIndex((t) => is(t, CloseSquare)) + 1)) }];
  });
}

/** The quoted texts. */
export const textsIn = (tokens: readonly IToken[]): Word[] => tokens.filter((t) => is(t, Text)).map((t) => wordOf(t));

/** The values named in the head of a loop. */
export const valuesIn = (tokens: readonly IToken[]): Word[] => tokens.filter((t) => is(t, Value)).map((t) => nameOf(t));

/** The variable of a loop: the name after "as". */
export function variableIn(tokens: readonly IToken[]): string | undefined {
  const next = tokens[tokens.findIndex((t) => is(t, As)) + 1];
  return tokens.some((t) => is(t, As)) && is(next, Identifier) ? next!.image : undefined;
}
