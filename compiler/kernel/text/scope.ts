/** The names in scope while parsing a kernel, and the source span of each parsed part. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import type { Size, Var } from "../expr.ts";
import type { ArrayDecl, BufferParam, FragmentDecl } from "../kernel.ts";
import { KernelSyntaxFault, type Span, spanOf, type Token } from "./tokens.ts";

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

  /** A later binding shadows an earlier one; the verifier reports duplicates. */
  bind(name: string, meaning: Meaning): void {
    this.names.set(name, meaning);
  }

  find(name: string): Meaning | undefined {
    return this.names.get(name);
  }

  /** The meaning of a name; throws KernelSyntaxFault if it is unknown or of another kind. */
  of<K extends Meaning["kind"]>(token: Token, kinds: readonly K[], what: string): Extract<Meaning, { kind: K }> {
    const found = this.names.get(token.image);
    if (found && (kinds as readonly string[]).includes(found.kind)) return found as Extract<Meaning, { kind: K }>;
    const known = [...this.names].filter(([, m]) => (kinds as readonly string[]).includes(m.kind)).map(([n]) => n);
    const message = found
      ? `"${token.image}" is not a ${what}`
      : `there is no ${what} "${token.image}"${didYouMean(token.image, known)}`;
    throw new KernelSyntaxFault(spanOf(token), message, found ? {} : { unknown: token.image });
  }

  /** Gives a part the span of the part that it replaces. */
  moved<T extends object>(from: object, to: T): T {
    const span = this.spans.get(from);
    if (span) this.spans.set(to, span);
    return to;
  }

  /** Records the span of a part of the kernel. */
  placed<T extends object>(part: T, first: Token, last: Token): T {
    this.spans.set(part, spanOf(first, last));
    return part;
  }
}
