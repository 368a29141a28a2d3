/** The words and signs of the text form, and the few rules about where a line ends. */
import { createToken, type IToken, Lexer, type TokenType } from "chevrotain";
import { InternalError } from "../../diagnostics/error.ts";
import type { Mistake } from "../../diagnostics/render.ts";
import { spanOf } from "./tree.ts";

export const Identifier = createToken({ name: "Identifier", label: "a name", pattern: /[A-Za-z_]\w*/ });

/** A keyword only where the grammar looks for it: axes, symbols and attributes may have the same name. */
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
export const CloseRound = sign("CloseRound", ")");
export const OpenCurly = sign("OpenCurly", "{");
export const CloseCurly = sign("CloseCurly", "}");
export const OpenSquare = sign("OpenSquare", "[");
export const CloseSquare = sign("CloseSquare", "]");
export const Comma = sign("Comma", ",");
export const Colon = sign("Colon", ":");
export const Equals = sign("Equals", "=");
export const Plus = sign("Plus", "+");
export const Minus = sign("Minus", "-");
export const Star = sign("Star", "*");

const OpenText = createToken({ name: "OpenText", pattern: /"(?:[^"\\\n]|\\.)*\\?/ });
const Alien = createToken({ name: "Alien", pattern: /[^\s]/ });

const keywords = [GraphWord, FunctionWord, Return, Repeat, Call, As, With, Updates];
const brackets = [OpenRound, CloseRound, OpenCurly, CloseCurly, OpenSquare, CloseSquare];
const signs = [Comma, Colon, Equals, Plus, Minus, Star];

/** Every token that the grammar may name. */
export const vocabulary: TokenType[] = [
  NewLine,
  ...keywords,
  Identifier,
  Value,
  Callable,
  Text,
  Numeral,
  ...brackets,
  ...signs,
];

const opening = new Set<TokenType>([OpenRound, OpenCurly, OpenSquare]);
const closing = new Set<TokenType>([CloseRound, CloseCurly, CloseSquare]);

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

export interface Lexed {
  readonly tokens: IToken[];
  readonly mistakes: readonly Mistake[];
}

/** Splits a text into tokens with one NewLine at the end of each line that counts; what is no token is a mistake and left out. */
export function lex(text: string): Lexed {
  const { tokens, errors } = lexer.tokenize(text);
  if (errors.length > 0) throw new InternalError(`the lexer stopped at ${errors[0]!.line}:${errors[0]!.column}`);
  const mistakes = tokens.flatMap(lexicalMistake);
  const known = tokens.filter((t) => t.tokenType !== OpenText && t.tokenType !== Alien);
  const deep = tooDeep(known);
  if (deep) return { tokens: [], mistakes: [...mistakes, deep] };
  const lines = splitLines(known);
  return { tokens: joinLines(lines, mistakes), mistakes };
}

/** More brackets than this inside each other are no graph, and the parser calls itself for each. */
const deepest = 50;

function tooDeep(tokens: readonly IToken[]): Mistake | undefined {
  let depth = 0;
  for (const token of tokens) {
    if (opening.has(token.tokenType)) depth++;
    if (closing.has(token.tokenType)) depth--;
    if (depth > deepest) return { ...spanOf(token), message: `brackets stand more than ${deepest} deep in each other` };
  }
  return undefined;
}

function lexicalMistake(token: IToken): Mistake[] {
  if (token.tokenType === OpenText)
    return [{ ...spanOf(token), message: "the text is not closed: a quote is missing" }];
  if (token.tokenType !== Alien) return [];
  const hint = token.image === "%" ? ": a value has a name, such as %0 or %x" : "";
  return [{ ...spanOf(token), message: `${JSON.stringify(token.image)} means nothing here${hint}` }];
}

/** Lines as lists of tokens without their line ends; a brace ends or begins a line wherever it stands. */
function splitLines(tokens: readonly IToken[]): IToken[][] {
  const lines: IToken[][] = [[]];
  for (const token of tokens) {
    if (token.tokenType === CloseCurly && lines.at(-1)!.length > 0) lines.push([]);
    if (token.tokenType === NewLine) lines.push([]);
    else lines.at(-1)!.push(token);
    if (token.tokenType === OpenCurly) lines.push([]);
  }
  return lines.filter((l) => l.length > 0);
}

/** Continues a line that ends in a comma or an opening bracket, and puts a NewLine after every other. */
function joinLines(lines: readonly IToken[][], mistakes: Mistake[]): IToken[] {
  const tokens: IToken[] = [];
  for (const [k, line] of lines.entries()) {
    const next = lines[k + 1];
    if (tokens.length === 0 || tokens.at(-1)!.tokenType === NewLine) {
      const wrong = startsNothing(line[0]!);
      if (wrong) {
        mistakes.push(wrong);
        continue;
      }
    }
    for (const token of line) tokens.push(token);
    if (!next || !continues(line.at(-1)!, next)) tokens.push(lineEnd(line.at(-1)!));
  }
  return tokens;
}

const openers = new Set<TokenType>([Comma, OpenRound, OpenSquare]);
const closers = new Set<TokenType>([CloseRound, CloseSquare]);
const starters = new Set<TokenType>([Value, Return, Repeat, CloseCurly, GraphWord, FunctionWord, CloseRound]);

function continues(last: IToken, next: readonly IToken[]): boolean {
  if (closers.has(next[0]!.tokenType)) return true;
  return openers.has(last.tokenType) && !isStatement(next);
}

/** `return`, `repeat` and `%a, %b =` begin a statement even after a comma that somebody forgot to follow up. */
function isStatement(line: readonly IToken[]): boolean {
  const first = line[0]!.tokenType;
  if (first === Return || first === CloseCurly || first === GraphWord || first === FunctionWord) return true;
  if (first === Repeat) return line.at(-1)!.tokenType === OpenCurly;
  let i = 0;
  while (line[i]?.tokenType === Value && line[i + 1]?.tokenType === Comma) i += 2;
  return line[i]?.tokenType === Value && line[i + 1]?.tokenType === Equals;
}

function startsNothing(token: IToken): Mistake | undefined {
  if (starters.has(token.tokenType)) return undefined;
  return {
    ...spanOf(token),
    message: `a line begins with %value =, repeat, return or a closing bracket, not with "${token.image}"`,
  };
}

function lineEnd(last: IToken): IToken {
  const column = (last.startColumn ?? 1) + last.image.length;
  return {
    image: "",
    tokenType: NewLine,
    tokenTypeIdx: NewLine.tokenTypeIdx!,
    startOffset: last.startOffset + last.image.length,
    startLine: last.startLine ?? 1,
    startColumn: column,
    endOffset: last.startOffset + last.image.length,
    endLine: last.startLine ?? 1,
    endColumn: column,
  };
}
