/** The lexer of the text form. */
import { type CustomPatternMatcherReturn, createToken, type IToken, Lexer, type TokenType } from "chevrotain";
import { InternalError } from "../../diagnostics/error.ts";
import type { Mistake } from "../../diagnostics/render.ts";
import { spanOf } from "./tree.ts";

export const Identifier = createToken({ name: "Identifier", label: "a name", pattern: /[A-Za-z_]\w*/ });

/** A contextual keyword: axes, symbols and attributes may have the same name. */
const keyword = (word: string): TokenType =>
  createToken({
    name: `Keyword_${word}`,
    label: `"${word}"`,
    pattern: new RegExp(word),
    longer_alt: Identifier,
    categories: [Identifier],
  });

const sign = (name: string, text: string): TokenType => createToken({ name, label: `"${text}"`, pattern: text });

export const GraphWord = keyword("graph");
export const FunctionWord = keyword("function");
export const Return = keyword("return");
export const Repeat = keyword("repeat");
export const Call = keyword("call");
export const As = keyword("as");
export const With = keyword("with");
export const Updates = keyword("updates");
export const SymbolWord = keyword("symbol");
export const In = keyword("in");
export const Multiple = keyword("multiple");
export const Of = keyword("of");

export const NewLine = createToken({
  name: "NewLine",
  label: "the end of the line",
  pattern: /\n/,
  line_breaks: true,
});
export const Value = createToken({ name: "Value", label: "a value such as %0", pattern: /%[A-Za-z0-9_]+(\.\w+)*/ });
export const Callable = createToken({
  name: "Callable",
  label: "a name such as @block",
  pattern: /@([A-Za-z_]\w*(\.\w+)*|"(?:[^"\\\n]|\\.)*")/,
});
export const Text = createToken({ name: "Text", label: "a text in quotes", pattern: /"(?:[^"\\\n]|\\.)*"/ });
export const Numeral = createToken({
  name: "Numeral",
  label: "a number",
  pattern: /\d+(\.\d+)?([eE][+-]?\d+)?/,
});
export const OpenRound = sign("OpenRound", "(");
/** Shorter lists are left to the grammar. */
const fewestNumbers = 32;
const listedNumber = /[ \t]*(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[ \t]*([,\]])/y;

/** The list of numbers at an offset of the text, as chevrotain takes the match of a pattern; null if there is none. */
function numberList(text: string, offset: number): CustomPatternMatcherReturn | null {
  if (text[offset] !== "[") return null;
  const payload: number[] = [];
  listedNumber.lastIndex = offset + 1;
  for (let found = listedNumber.exec(text); found; found = listedNumber.exec(text)) {
    payload.push(Number(found[1]));
    if (found[2] === ",") continue;
    return payload.length < fewestNumbers
      ? null
      : Object.assign([text.slice(offset, listedNumber.lastIndex)] as [string], { payload });
  }
  return null;
}

/**
 * A list of many plain numbers on one line, such as the values of a table, as one token whose payload are the numbers:
 * a token and a syntax tree for each number would take most of the time and memory of reading a graph with tables.
 */
export const NumberList = createToken({
  name: "NumberList",
  label: '"["',
  pattern: { exec: numberList },
  line_breaks: false,
  start_chars_hint: ["["],
});
export const CloseRound = sign("CloseRound", ")");
export const OpenCurly = sign("OpenCurly", "{");
export const CloseCurly = sign("CloseCurly", "}");
export const OpenSquare = sign("OpenSquare", "[");
export const CloseSquare = sign("CloseSquare", "]");
export const DotDot = sign("DotDot", "..");
export const Comma = sign("Comma", ",");
export const Colon = sign("Colon", ":");
export const Equals = sign("Equals", "=");
export const Plus = sign("Plus", "+");
export const Minus = sign("Minus", "-");
export const Star = sign("Star", "*");

/** A synthesized token for a line that is not a statement. */
export const Stray = createToken({ name: "Stray", label: "a statement", pattern: Lexer.NA });

const OpenText = createToken({ name: "OpenText", pattern: /"(?:[^"\\\n]|\\.)*\\?/ });
const Alien = createToken({ name: "Alien", pattern: /[^\s]/ });

const keywords = [GraphWord, FunctionWord, SymbolWord, Return, Repeat, Call, As, With, Updates, In, Multiple, Of];
const brackets = [OpenRound, CloseRound, OpenCurly, CloseCurly, OpenSquare, CloseSquare];
const signs = [DotDot, Comma, Colon, Equals, Plus, Minus, Star];

/** Every token that the grammar may name. */
export const vocabulary: TokenType[] = [
  NewLine,
  Stray,
  ...keywords,
  Identifier,
  Value,
  Callable,
  Text,
  Numeral,
  NumberList, // before the bracket that it begins with
  ...brackets,
  ...signs,
];

const lexer = new Lexer(
  [
    createToken({ name: "Blank", pattern: /[ \t\r\f\v\u00a0\u2028\u2029\ufeff]+/, group: Lexer.SKIPPED }),
    createToken({ name: "Comment", pattern: /\/\/[^\n]*/, group: Lexer.SKIPPED }),
    ...vocabulary,
    OpenText,
    Alien,
  ],
  { positionTracking: "full", ensureOptimizations: false },
);

/** A token's text in messages: a list of numbers, which may be very long, by its bracket. */
export const shownImage = ({ tokenType, image }: IToken): string => (tokenType === NumberList ? "[" : image);

export interface Lexed {
  /** The tokens in order. */
  readonly tokens: readonly IToken[];
  readonly mistakes: readonly Mistake[];
}

/** Splits a text into tokens; invalid characters are mistakes and are dropped. */
export function lex(text: string): Lexed {
  const { tokens, errors } = lexer.tokenize(text);
  if (errors.length > 0) throw new InternalError(`the lexer stopped at ${errors[0]!.line}:${errors[0]!.column}`);
  const mistakes = tokens.flatMap(lexicalMistake);
  return { tokens: tokens.filter((t) => t.tokenType !== OpenText && t.tokenType !== Alien), mistakes };
}

function lexicalMistake(token: IToken): Mistake[] {
  if (token.tokenType === OpenText)
    return [{ ...spanOf(token), message: "the string is not closed: a quote is missing" }];
  if (token.tokenType !== Alien) return [];
  const hint = token.image === "%" ? ": a value has a name, such as %0 or %x" : "";
  return [{ ...spanOf(token), message: `${JSON.stringify(token.image)} is not expected here${hint}` }];
}
