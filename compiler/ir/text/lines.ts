/**
 * Preprocesses the lines of a text for the grammar: joins continuation lines and balances braces. So the grammar always
 * sees complete sections and loops, and a mistake affects only its own line.
 */
import type { IToken, TokenType } from "chevrotain";
import type { Mistake } from "../../diagnostics/render.ts";
import {
  CloseCurly,
  CloseRound,
  CloseSquare,
  Comma,
  Equals,
  FunctionWord,
  GraphWord,
  NewLine,
  OpenCurly,
  OpenRound,
  OpenSquare,
  Repeat,
  Return,
  Stray,
  SymbolWord,
  shownImage,
  Value,
} from "./tokens.ts";
import { spanOf } from "./tree.ts";

export interface Lines {
  /** Tokens with one NewLine after each nonempty line, and balanced braces. */
  readonly tokens: IToken[];
  readonly mistakes: readonly Mistake[];
  /** Whether a line outside of all braces was dropped: it may have been meant as the head of a graph. */
  readonly lostOutside: boolean;
}

/** Groups tokens into lines; a line that does not begin a statement is a mistake and becomes a Stray. */
export function readLines(tokens: readonly IToken[]): Lines {
  const lines = new BalancedLines();
  for (const line of joined(splitLines(tokens))) if (!lines.add(line)) return lines.abandoned();
  return lines.end();
}

class BalancedLines {
  private readonly tokens: IToken[] = [];
  private readonly mistakes: Mistake[] = [];
  /** Open braces. */
  private depth = 0;
  private lostOutside = false;

  /** False if the line opens braces that are nested too deep: what follows cannot be placed. */
  add(line: readonly IToken[]): boolean {
    const [first, last] = [line[0]!, line.at(-1)!];
    const type = first.tokenType;
    const opens = last.tokenType === OpenCurly;
    const deep = tooDeep(line, opens ? this.depth + 1 : this.depth);
    if (deep) {
      this.mistake(deep, `brackets are nested more than ${deepest} deep`);
      if (opens) return false;
      this.drop(first, last);
    } else if (type === GraphWord || type === FunctionWord) this.section(line);
    else if (type === CloseCurly) this.closing(line);
    else if (this.depth > 0 && type === Repeat) this.begin(line);
    else if (!opens && this.isStatement(type)) this.push(line);
    else this.stray(first, last);
    return true;
  }

  abandoned(): Lines {
    return { tokens: [], mistakes: this.mistakes, lostOutside: true };
  }

  end(): Lines {
    const last = this.tokens.at(-1);
    if (this.depth > 0 && last) {
      this.mistake(last, '"}" is expected, but the text ends');
      this.close(last);
    }
    return { tokens: this.tokens, mistakes: this.mistakes, lostOutside: this.lostOutside };
  }

  private isStatement(type: TokenType): boolean {
    return this.depth === 0 ? type === SymbolWord : type === Value || type === Return;
  }

  /** The head of a graph or function, which is never inside of another. */
  private section(line: readonly IToken[]): void {
    if (this.depth > 0) this.mistake(line[0]!, '"}" is expected before this line: what stands above is not closed');
    this.close(line[0]!);
    this.begin(line);
  }

  private closing(line: readonly IToken[]): void {
    if (this.depth === 0) this.mistake(line[0]!, 'nothing is open that this "}" would close');
    else {
      this.push(line);
      this.depth--;
    }
  }

  private stray(first: IToken, last: IToken): void {
    const opens = last.tokenType === OpenCurly;
    this.mistake(first, strayMessage(first, this.depth, opens));
    if (opens) this.begin([standIn(this.depth > 0 ? Repeat : GraphWord, first), last]);
    else this.drop(first, last);
  }

  private drop(first: IToken, last: IToken): void {
    if (this.depth > 0) this.push([standIn(Stray, first)], last);
    else this.lostOutside = true;
  }

  private begin(line: readonly IToken[]): void {
    const last = line.at(-1)!;
    const opened = last.tokenType === OpenCurly;
    if (!opened) this.mistake(lineEnd(last), '"{" is expected, but the line ends');
    this.push(opened ? line : [...line, standIn(OpenCurly, last)]);
    this.depth++;
  }

  /** Closes all open braces. */
  private close(at: IToken): void {
    for (; this.depth > 0; this.depth--) this.push([standIn(CloseCurly, at)]);
  }

  private push(line: readonly IToken[], last = line.at(-1)!): void {
    for (const token of line) this.tokens.push(token);
    this.tokens.push(lineEnd(last));
  }

  private mistake(token: IToken, message: string): void {
    this.mistakes.push({ ...spanOf(token), message });
  }
}

/** The deepest nesting of brackets: the parser recurses for each. */
const deepest = 50;

/** The first token of a line that is nested too deep. */
function tooDeep(line: readonly IToken[], braces: number): IToken | undefined {
  if (braces > deepest) return line.at(-1);
  let depth = braces;
  return line.find(({ tokenType }) => {
    if (openers.has(tokenType) && tokenType !== Comma) depth++;
    if (closers.has(tokenType)) depth--;
    return depth > deepest;
  });
}

function strayMessage(token: IToken, depth: number, opens: boolean): string {
  const [{ tokenType }, image] = [token, shownImage(token)];
  if (depth === 0)
    return `outside of braces a line begins with graph @name(, function @name( or symbol name, not with "${image}"`;
  if (opens && tokenType !== CloseRound && tokenType !== CloseSquare)
    return "only a loop opens braces here: repeat 3 as i {";
  return `a line begins with %value =, repeat, return or a closing bracket, not with "${image}"`;
}

/** Splits tokens into lines, without NewLine tokens; a brace also ends or begins a line. */
function splitLines(tokens: readonly IToken[]): IToken[][] {
  const lines: IToken[][] = [[]];
  for (const token of tokens) {
    if (token.tokenType === CloseCurly) lines.push([]);
    if (token.tokenType === NewLine) lines.push([]);
    else lines.at(-1)!.push(token);
    if (token.tokenType === OpenCurly || token.tokenType === CloseCurly) lines.push([]);
  }
  return lines.filter((l) => l.length > 0);
}

/** Joins a line to the next after a comma or an opening bracket, or before a closing one; not for a stray line. */
function joined(lines: readonly IToken[][]): IToken[][] {
  const out: IToken[][] = [];
  let open = false;
  for (const [k, line] of lines.entries()) {
    if (open) for (const token of line) out.at(-1)!.push(token);
    else out.push([...line]);
    const next = lines[k + 1];
    open = next !== undefined && starters.has(out.at(-1)![0]!.tokenType) && continues(line.at(-1)!, next);
  }
  return out;
}

const openers = new Set<TokenType>([Comma, OpenRound, OpenSquare]);
const closers = new Set<TokenType>([CloseRound, CloseSquare]);
const starters = new Set<TokenType>([Value, Return, Repeat, GraphWord, FunctionWord]);

function continues(last: IToken, next: readonly IToken[]): boolean {
  if (last.tokenType === OpenCurly) return false;
  if (closers.has(next[0]!.tokenType)) return true;
  if (last.tokenType === OpenSquare && next[0]!.tokenType === Value) return false; // square brackets contain no values
  return openers.has(last.tokenType) && !isStatement(next);
}

/** `return`, `repeat` and `%a, %b =` begin a statement even after a dangling comma. */
function isStatement(line: readonly IToken[]): boolean {
  const first = line[0]!.tokenType;
  if (first === Return || first === CloseCurly || first === GraphWord || first === FunctionWord) return true;
  if (first === Repeat) return line.at(-1)!.tokenType === OpenCurly;
  let i = 0;
  while (line[i]?.tokenType === Value && line[i + 1]?.tokenType === Comma) i += 2;
  return line[i]?.tokenType === Value && line[i + 1]?.tokenType === Equals;
}

/** A synthesized token at the position of another. */
const standIn = (tokenType: TokenType, at: IToken): IToken => ({
  ...at,
  tokenType,
  tokenTypeIdx: tokenType.tokenTypeIdx!,
});

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
