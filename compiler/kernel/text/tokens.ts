/** The lexer of kernel text. */
import type { Mistake } from "../../diagnostics/render.ts";

export interface Token {
  readonly kind: "name" | "number" | "text" | "sign" | "end";
  /** The source text, with the quotes of a string. */
  readonly image: string;
  readonly line: number;
  /** From 1. */
  readonly column: number;
}

/** The tokens of a non-blank line without its comment, ending with an end token. */
export type Line = readonly Token[];

export interface Span {
  readonly line: number;
  readonly column: number;
  readonly length: number;
}

/** The span from the start of one token to the end of another on the same line. */
export const spanOf = (first: Token, last: Token = first): Span => ({
  line: first.line,
  column: first.column,
  length: Math.max(1, last.column + last.image.length - first.column),
});

/** Thrown for a mistake on a line; the parser continues with the next line. */
export class KernelSyntaxFault extends Error {
  readonly mistake: Mistake;
  /** The unknown name, if that is the mistake. */
  readonly unknown: string | undefined;
  constructor(span: Span, message: string, more: { readonly hint?: string; readonly unknown?: string } = {}) {
    super(message);
    this.mistake = { ...span, message, ...(more.hint === undefined ? {} : { hint: more.hint }) };
    this.unknown = more.unknown;
  }
}

/** One group for each kind of token, in order, and two for the rest: blanks and comments, unknown characters. */
const pattern =
  /([A-Za-z_]\w*)|(\d+(?:\.\d+)?(?:e[+-]?\d+)?)|("(?:[^"\\]|\\.)*")|(\.\.|\+=|==|!=|<=|\/(?!\/)|[$@()[\]{},:=?&|+\-*%.<])|([ \t\r]+|\/\/.*)|(.)/gsu;
const kinds = ["name", "number", "text", "sign", "blank", "unknown"] as const;

/** The lines of a text, and the characters in them that are no tokens. */
export function readLines(text: string): { readonly lines: readonly Line[]; readonly mistakes: readonly Mistake[] } {
  const lines: Line[] = [];
  const mistakes: Mistake[] = [];
  for (const [i, content] of text.split("\n").entries()) {
    const tokens: Token[] = [];
    for (const match of content.matchAll(pattern)) {
      const kind = kinds[match.findIndex((group, g) => g > 0 && group !== undefined) - 1]!;
      const token = { image: match[0], line: i + 1, column: match.index + 1 };
      if (kind === "unknown") {
        const message =
          token.image === '"'
            ? "the string is not closed: a quote is missing"
            : `${JSON.stringify(token.image)} is not expected here`;
        mistakes.push({ line: i + 1, column: token.column, length: 1, message });
      } else if (kind !== "blank") tokens.push({ ...token, kind });
    }
    if (tokens.length > 0) {
      const { column, image } = tokens.at(-1)!;
      lines.push([...tokens, { kind: "end", image: "", line: i + 1, column: column + image.length }]);
    }
  }
  return { lines, mistakes };
}
