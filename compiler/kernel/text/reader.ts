/** A token reader for one line. */
import { type DType, dtypes } from "../../ir/dtype.ts";
import { type RegisterType, type Width, widths } from "../expr.ts";
import { KernelSyntaxFault, type Line, spanOf, type Token } from "./tokens.ts";

const typePattern = new RegExp(`^(${dtypes.join("|")})(?:x(${widths.join("|")}))?$`);

/** The register type that a word names: `f32`, `f16x4`. */
export function registerType(word: string): RegisterType | undefined {
  const match = typePattern.exec(word);
  if (!match) return undefined;
  return { dtype: match[1] as DType, ...(match[2] && { width: Number(match[2]) as Width }) };
}

export class LineReader {
  private readonly line: Line;
  private at = 0;

  constructor(line: Line) {
    this.line = line;
  }

  /** The token `ahead` places after the next one, without consuming it. */
  peek(ahead = 0): Token {
    return this.line[Math.min(this.at + ahead, this.line.length - 1)]!;
  }

  next(): Token {
    const token = this.peek();
    if (token.kind !== "end") this.at++;
    return token;
  }

  last(): Token {
    return this.line[Math.max(0, this.at - 1)]!;
  }

  /** Whether the next token has this text. */
  is(image: string, ahead = 0): boolean {
    return this.peek(ahead).image === image && this.peek(ahead).kind !== "end";
  }

  take(image: string): boolean {
    const found = this.is(image);
    if (found) this.at++;
    return found;
  }

  expect(image: string): Token {
    if (!this.is(image)) this.fail(`"${image}"`);
    return this.next();
  }

  name(what = "a name"): Token {
    if (this.peek().kind !== "name") this.fail(what);
    return this.next();
  }

  /** Reads one of the given words. */
  word<W extends string>(words: readonly W[], what: string): W {
    const token = this.peek();
    const found = words.find((w) => w === token.image);
    if (found === undefined) this.fail(`${what} (${words.join(", ")})`);
    this.next();
    return found!;
  }

  type(): RegisterType {
    const found = registerType(this.peek().image);
    if (!found) this.fail("a type such as f32 or f16x4");
    this.next();
    return found!;
  }

  dtype(): DType {
    return this.word(dtypes, "an element type");
  }

  integer(): number {
    const negative = this.take("-");
    const token = this.peek();
    if (token.kind !== "number" || !/^\d+$/.test(token.image)) this.fail("a whole number");
    this.next();
    return negative ? -Number(token.image) : Number(token.image);
  }

  end(): void {
    if (this.peek().kind !== "end") this.fail("the end of the line");
  }

  fail(wanted: string): never {
    const token = this.peek();
    const found = token.kind === "end" ? "the line ends" : `there is "${token.image}"`;
    throw new KernelSyntaxFault(spanOf(token), `${wanted} is expected, but ${found}`);
  }
}
