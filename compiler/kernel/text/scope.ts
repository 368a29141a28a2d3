/** The names that a kernel's text may speak of, and where in the text each part of the kernel was read. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import type { Size, Var } from "../expr.ts";
import type { ArrayDecl, BufferParam, FragmentDecl } from "../kernel.ts";
import { Misread, type Span, spanOf, type Token } from "./tokens.ts";

type Meaning =
  | { readonly kind: "var"; readonly var: Var }
  | { readonly kind: "buffer"; readonly buffer: BufferParam }
  | { readonly kind: "array"; readonly array: ArrayDecl }
  | { readonly kind: "fragment"; readonly fragment: FragmentDecl };

export class Scope {
  readonly sizes: Map<string, Size>;
  readonly spans: Map<object, Span>;
  /** Names whose declaration did not parse: their uses are not checked. */
  readonly broken: Set<string>;
  private readonly names: Map<string, Meaning>;

  constructor(outer?: Scope) {
    this.names = new Map(outer?.names);
    this.sizes = outer?.sizes ?? new Map();
    this.spans = outer?.spans ?? new Map();
    this.broken = outer?.broken ?? new Set();
  }

  /** A later binding of a name hides the first; that it may not is for the verifier to say. */
  bind(name: string, meaning: Meaning): void {
    this.names.set(name, meaning);
  }

  find(name: string): Meaning | undefined {
    return this.names.get(name);
  }

  /** What a name means; throws Misread where it means nothing, or no such thing as is wanted. */
  of<K extends Meaning["kind"]>(token: Token, kinds: readonly K[], what: string): Extract<Meaning, { kind: K }> {
    const found = this.names.get(token.image);
    if (found && (kinds as readonly string[]).includes(found.kind)) return found as Extract<Meaning, { kind: K }>;
    const known = [...this.names].filter(([, m]) => (kinds as readonly string[]).includes(m.kind)).map(([n]) => n);
    const message = found
      ? `"${token.image}" is no ${what}`
      : `there is no ${what} "${token.image}"${didYouMean(token.image, known)}`;
    throw new Misread(spanOf(token), message, found ? {} : { unknown: token.image });
  }

  /** Says that a part was read where another was that it replaces. */
  moved<T extends object>(from: object, to: T): T {
    const span = this.spans.get(from);
    if (span) this.spans.set(to, span);
    return to;
  }

  /** Remembers where a part of the kernel was read. */
  placed<T extends object>(part: T, first: Token, last: Token): T {
    this.spans.set(part, spanOf(first, last));
    return part;
  }
}
