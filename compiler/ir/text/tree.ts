/** The syntax tree of the text form: produced by the parser, turned into nodes by the elaborator. */
import type { IToken } from "chevrotain";

/** A range within one line of the text; lines and columns count from 1. */
export interface Span {
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

export interface Word {
  readonly text: string;
  readonly span: Span;
}

/** A sum of products of numbers and names: a size, a number or an iteration. */
export interface Expression {
  readonly span: Span;
  readonly terms: readonly Term[];
}

export interface Term {
  readonly sign: 1 | -1;
  readonly factors: readonly (number | string)[];
}

/** `%name` or `%name[index]`. */
export interface Reference {
  readonly name: Word;
  readonly index: Expression | undefined;
  readonly span: Span;
}

/** The value of an attribute; the op's schema determines which of these it must be. */
export type Value =
  | { readonly kind: "expression"; readonly expression: Expression; readonly span: Span }
  | { readonly kind: "text"; readonly text: Word; readonly span: Span }
  | {
      readonly kind: "list";
      readonly items: readonly Value[];
      /** `[0.1, 0.2][i]`: the item of the current iteration. */
      readonly index: Expression | undefined;
      readonly span: Span;
    }
  /** A list of plain numbers, read as one token; `index` as in a list. */
  | {
      readonly kind: "numbers";
      readonly numbers: readonly number[];
      readonly index: Expression | undefined;
      readonly span: Span;
    }
  | { readonly kind: "sized"; readonly name: Word; readonly size: Expression; readonly span: Span }
  | { readonly kind: "call"; readonly name: Word; readonly args: readonly Argument[]; readonly span: Span };

export interface Argument {
  readonly name: Word;
  readonly value: Value;
}

export type Operand =
  | { readonly kind: "reference"; readonly reference: Reference; readonly span: Span }
  | { readonly kind: "literal"; readonly value: Value; readonly dtype: Word | undefined; readonly span: Span }
  | {
      readonly kind: "series";
      readonly count: Expression;
      readonly variable: Word;
      readonly items: readonly Operand[];
      readonly span: Span;
    };

export interface TypeTree {
  readonly dtype: Word;
  readonly axes: readonly { readonly name: Word; readonly size: Expression }[];
  readonly span: Span;
}

export interface Operation {
  readonly op: Word;
  /** The name of a parameter or an input, written right after the op. */
  readonly name: Word | undefined;
  readonly operands: readonly Operand[];
  readonly attributes: readonly Argument[];
}

/** `call @block(%x) as "blocks.0"`: the path is a prefix of the names that the function declares. */
export interface Call {
  readonly callee: Word;
  readonly operands: readonly Operand[];
  readonly path: Word | undefined;
}

export interface Definition {
  readonly kind: "definition";
  readonly targets: readonly Word[];
  readonly operation: Operation | Call;
  readonly types: readonly TypeTree[];
}

export interface Result {
  readonly operand: Operand;
  readonly name: Word | undefined;
  readonly updates: Word | undefined;
}

export interface RepeatHeader {
  readonly count: Expression;
  readonly variable: Word;
  readonly initial: readonly { readonly target: Reference; readonly operand: Operand }[];
}

export type Statement =
  | Definition
  | { readonly kind: "return"; readonly results: readonly Result[] }
  /** The header is absent if it did not parse. */
  | {
      readonly kind: "repeat";
      readonly header: RepeatHeader | undefined;
      /** The character offset after the header. */
      readonly headerTo: number;
      readonly body: readonly Placed[];
    }
  /** A line that did not parse. */
  | { readonly kind: "faulty" };

/** A range [from, to) of the text, by character offset. */
export interface Extent {
  readonly from: number;
  readonly to: number;
}

/** A statement with its range in the text. */
export interface Placed extends Extent {
  readonly statement: Statement;
}

export interface SignatureEntry {
  readonly role: Word | undefined;
  readonly value: Word;
  /** The input's name, if it differs from that of the value. */
  readonly name: Word | undefined;
  readonly type: TypeTree | undefined;
}

/** `symbol tokens in 8..2048 multiple of 8`: bounds of a size. */
export interface SymbolTree {
  readonly name: Word;
  readonly min: number | undefined;
  readonly max: number | undefined;
  readonly multipleOf: number | undefined;
}

export interface FileTree {
  readonly symbols: readonly SymbolTree[];
  readonly sections: readonly Section[];
}

export interface SectionHead {
  readonly kind: "graph" | "function";
  readonly name: Word;
  readonly inputs: readonly SignatureEntry[];
}

/** `from` and `to` span its first line. */
export interface Section extends Extent {
  /** Absent if its line did not parse. */
  readonly head: SectionHead | undefined;
  readonly body: readonly Placed[];
  /** Its closing brace. */
  readonly end: Span;
}

export const spanOf = (token: IToken): Span => ({
  line: token.startLine ?? 1,
  column: token.startColumn ?? 1,
  length: Math.max(1, token.image.length),
});

/** From the start of one token to the end of another; only the first token if they are on different lines. */
export function spanBetween(first: IToken, last: IToken): Span {
  const start = spanOf(first);
  if (first.startLine !== last.startLine) return start;
  return { ...start, length: Math.max(start.length, (last.startColumn ?? 1) + last.image.length - start.column) };
}

export const wordOf = (token: IToken, text = token.image): Word => ({ text, span: spanOf(token) });
