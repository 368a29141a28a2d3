/** Parses the kernels that printKernel prints; docs/kernels.md has the grammar. */
import { KernelTextError } from "../../diagnostics/error.ts";
import { type Mistake, renderMistakes } from "../../diagnostics/render.ts";
import { threadVars } from "../bounds.ts";
import { int } from "../expr.ts";
import { requiredFeatures } from "../features.ts";
import type { Kernel, Stmt } from "../kernel.ts";
import { kernelFaults } from "../verify.ts";
import { breakDeclaration, emptyHead, type Head, readDeclaration, readTitle } from "./declarations.ts";
import { LineReader } from "./reader.ts";
import { Scope } from "./scope.ts";
import { bindCounter, readCounter, readStatement } from "./statement.ts";
import { KernelSyntaxFault, type Line, readLines, type Span, spanOf } from "./tokens.ts";

/** Parsed kernels, or all mistakes in their text. */
export interface KernelTextResult {
  /** Empty if there are mistakes. */
  readonly kernels: readonly Kernel[];
  readonly mistakes: readonly Mistake[];
}

/** Parses a text with one kernel; throws KernelTextError with every mistake, each with location, line and carets. */
export function parseKernel(text: string, fileName = "(text)"): Kernel {
  const kernels = parseKernels(text, fileName);
  if (kernels.length === 1) return kernels[0]!;
  throw new KernelTextError(`${fileName} has ${kernels.length} kernels where one is needed`);
}

/** Parses all kernels of a text, in order; throws KernelTextError with every mistake. */
export function parseKernels(text: string, fileName = "(text)"): readonly Kernel[] {
  const { kernels, mistakes } = checkKernelText(text);
  if (mistakes.length > 0) throw new KernelTextError(renderMistakes(fileName, text, mistakes));
  return kernels;
}

/** Parses all kernels of a text; returns them, or the mistakes sorted by location. */
export function checkKernelText(text: string): KernelTextResult {
  const { lines, mistakes: unknown } = readLines(text);
  const reader = new KernelsReader(lines, unknown);
  const kernels: Kernel[] = [];
  while (!reader.atEnd()) kernels.push(...reader.kernel());
  const mistakes = [...reader.mistakes].sort((a, b) => a.line - b.line || a.column - b.column);
  return mistakes.length > 0 ? { kernels: [], mistakes } : { kernels, mistakes };
}

const isTitle = (line: Line): boolean => line[0]!.image === "kernel" && line[1]?.kind === "name";
const opensBlock = (line: Line): boolean =>
  line.at(-2)!.image === "{" || ((line[0]!.image === "for" || line[0]!.image === "if") && line[1]?.image !== "=");

class KernelsReader {
  readonly mistakes: Mistake[];
  private readonly lines: readonly Line[];
  /** Lines with a mistake: further errors there are consequences of it and not reported. */
  private readonly broken: Set<number>;
  private at = 0;

  constructor(lines: readonly Line[], unknown: readonly Mistake[]) {
    this.lines = lines;
    this.mistakes = [...unknown];
    this.broken = new Set(unknown.map((m) => m.line));
  }

  atEnd(): boolean {
    return this.at === this.lines.length;
  }

  /** The next kernel; empty if too little of it was parsed to verify. */
  kernel(): Kernel[] {
    const [scope, head] = [new Scope(), emptyHead()];
    const title = this.lines[this.at++]!;
    this.attempt(title, scope, (line) => readTitle(line, head));
    while (!this.atEnd() && this.lines[this.at]![0]!.image !== "{" && !isTitle(this.lines[this.at]!)) {
      const text = this.lines[this.at++]!;
      if (this.attempt(text, scope, (line) => readDeclaration(line, head, scope)) === undefined)
        breakDeclaration(new LineReader(text), scope);
    }
    const open = this.lines[this.at];
    if (!open || open[0]!.image !== "{") {
      this.report(spanOf(title[0]!), "the kernel has no body: { is missing after its declarations");
      return [];
    }
    this.at++;
    this.attempt(open, scope, (line) => {
      line.expect("{");
      line.end();
    });
    for (const [name, variable] of Object.entries(threadVars(head))) scope.bind(name, { kind: "var", var: variable });
    const body = this.block(scope, spanOf(open[0]!));
    const kernel = kernelOf(head, scope, body);
    if (head.complete) this.verify(kernel, head, scope, spanOf(title[0]!));
    else this.report(spanOf(title[0]!), "the kernel has no line with its workgroup and grid");
    return [kernel];
  }

  /** The statements up to the closing brace of a block. */
  private block(scope: Scope, opening: Span): Stmt[] {
    const out: Stmt[] = [];
    while (!this.atEnd() && !isTitle(this.lines[this.at]!)) {
      const text = this.lines[this.at++]!;
      if (text[0]!.image === "}") {
        this.attempt(text, scope, (line) => {
          line.expect("}");
          line.end();
        });
        return out;
      }
      const s = this.attempt(text, scope, (line) => readStatement(line, scope))?.value;
      if (!s) out.push(...this.standIn(text, scope));
      if (!opensBlock(text)) {
        if (s) out.push(s);
        continue;
      }
      const inner = new Scope(scope);
      if (s) bindCounter(s, inner);
      else readCounter(new LineReader(text), inner);
      const body = this.block(inner, spanOf(text[0]!));
      if (s) out.push(scope.moved(s, { ...s, body } as Stmt));
    }
    this.report(opening, "the block is not closed: } is missing");
    return out;
  }

  /** Recovers from a line that did not parse: binds its name if the type is known, else ignores errors at its uses. */
  private standIn(text: Line, scope: Scope): Stmt[] {
    const [kind, name] = [text[0]!.image, text[1]!.image];
    if (kind !== "let" && kind !== "var") return [];
    const found = scope.find(name);
    if (found?.kind !== "var") {
      scope.broken.add(name);
      return [];
    }
    return [scope.placed({ kind, target: found.var, value: int(0) }, text[0]!, text[0]!)];
  }

  /** The result of `read` for a line; undefined if it fails, which is recorded as a mistake. */
  private attempt<T>(text: Line, scope: Scope, read: (line: LineReader) => T): { readonly value: T } | undefined {
    try {
      return { value: read(new LineReader(text)) };
    } catch (cause) {
      if (!(cause instanceof KernelSyntaxFault)) throw cause;
      // Uses of a name with a malformed declaration, and lines with an unknown character, only cause follow-up errors.
      const consequence =
        this.broken.has(text[0]!.line) || (cause.unknown !== undefined && scope.broken.has(cause.unknown));
      this.broken.add(text[0]!.line);
      if (!consequence) this.mistakes.push(cause.mistake);
      return undefined;
    }
  }

  private report(span: Span, message: string): void {
    if (this.broken.has(span.line)) return;
    this.mistakes.push({ ...span, message });
  }

  /** Records the verifier's faults on lines without other mistakes. */
  private verify(kernel: Kernel, head: Head, scope: Scope, title: Span): void {
    const known = new Set<string>();
    for (const { at, message } of kernelFaults(kernel)) {
      const span = scope.spans.get(at) ?? title;
      const key = `${span.line}:${span.column} ${message}`;
      if (!known.has(key)) this.report(span, message);
      known.add(key);
    }
    const needed = requiredFeatures(kernel).join(", ");
    const said = head.requires?.features.join(", ") ?? "";
    if (needed === said || this.mistakes.length > 0) return;
    const line = needed
      ? `the line should be: requires ${needed}`
      : "no features are required, so that the line can be deleted";
    this.report(
      head.requires ? spanOf(head.requires.at) : title,
      `the kernel needs ${needed || "no features"}: ${line}`,
    );
  }
}

/** Builds the kernel; faults of the kernel as a whole are reported at its head. */
function kernelOf(head: Head, scope: Scope, body: readonly Stmt[]): Kernel {
  const { name, kind, buffers, arrays, fragments, workgroup, grid, subgroupSize } = head;
  const kernel: Kernel = {
    name,
    kind,
    buffers,
    arrays,
    ...(fragments.length > 0 && { fragments }),
    workgroup,
    ...(subgroupSize !== undefined && { subgroupSize }),
    grid,
    sizes: [...scope.sizes.keys()],
    body,
  };
  return scope.moved(head, kernel);
}
