/** Where in the user's code a node was built: the first stack frame outside the compiler and the DSL. */

import { underline } from "./render.ts";

export interface SourceLocation {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** Where a node was built; the stack is formatted lazily, because that is slow. */
export interface Birth {
  readonly stack?: Error;
  readonly location?: SourceLocation;
}

/** In a bundle, the compiler and the DSL are this one file. */
const here = import.meta.url;
/** Not `new URL(path, import.meta.url)`, which bundlers take for a file to include. */
const root = new URL("../../", here).href;
const ours = [`${root}compiler/`, `${root}dsl/`, "node:", here];
let capturing = true;
let inherited: Birth | undefined;

/** Captures up to `frames` frames of the current stack without formatting them; `locationOf` does that later. */
export function captureBirth(frames = 24): Birth {
  if (inherited) return inherited;
  if (!capturing) return {};
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = frames;
  const stack = new Error();
  Error.stackTraceLimit = before;
  return { stack };
}

/** Runs `body` without capturing stacks: most nodes that passes build inherit the birth of the node they replace. */
export function withoutCapture<T>(body: () => T): T {
  const before = capturing;
  capturing = false;
  try {
    return body();
  } finally {
    capturing = before;
  }
}

/** Runs `body` so that every node it builds gets `birth`: a replacement keeps the source location of the original. */
export function withBirth<T>(birth: Birth | undefined, body: () => T): T {
  const before = inherited;
  inherited = birth ?? {};
  try {
    return body();
  } finally {
    inherited = before;
  }
}

export function locationOf(birth: Birth | undefined): SourceLocation | undefined {
  if (!birth) return undefined;
  if (birth.location) return birth.location;
  return userFrames(birth).next().value ?? undefined;
}

/** The user's stack frames at a birth, innermost first. */
export const callsOf = (birth: Birth): SourceLocation[] => [...userFrames(birth)];

/**
 * The outermost frames at which two call stacks differ: for two calls of one layer, the call sites, not the line inside
 * the layer. Undefined if the stacks are the same, as in a loop.
 */
export function partingCalls(a: Birth, b: Birth): readonly [SourceLocation, SourceLocation] | undefined {
  const [first, second] = [callsOf(a), callsOf(b)];
  for (let i = 1; i <= Math.min(first.length, second.length); i++) {
    const calls = [first.at(-i)!, second.at(-i)!] as const;
    if (printLocation(calls[0]) !== printLocation(calls[1])) return calls;
  }
  return undefined;
}

/** The stack frames in the user's code, innermost first. */
function* userFrames({ stack }: Birth): Generator<SourceLocation, undefined> {
  for (const frame of (stack?.stack ?? "").split("\n").slice(1)) {
    const found =
      /(?:\(|@|at (?:async )?)((?:file:\/\/|(?:blob:)?https?:\/\/|\/|[A-Za-z]:\\)[^()]*?):(\d+):(\d+)\)?$/.exec(
        frame.trim(),
      );
    if (!found) continue;
    const href = found[1]!.startsWith("/") ? `file://${found[1]}` : withoutQuery(found[1]!);
    if (ours.some((prefix) => href.startsWith(prefix))) continue;
    yield mapped({ file: displayPath(href), line: Number(found[2]), column: Number(found[3]) });
  }
}

/** A file that is imported anew has a query, which its path does not. */
const withoutQuery = (href: string): string => (href.startsWith("file:") ? href.replace(/[?#].*$/, "") : href);

/** Paths inside the package are shown relative to its root, others in full. */
const displayPath = (href: string): string =>
  href.startsWith(root) ? href.slice(root.length) : decodeURIComponent(href.replace(/^file:\/\//, ""));

export const printLocation = (l: SourceLocation | undefined): string =>
  l ? `${l.file}:${l.line}:${l.column}` : "(built by a pass)";

let mapped = (location: SourceLocation): SourceLocation => location;

/** For pages that run transformed user code: maps locations in it back to the user's file, like a source map. */
export function setLocationMapper(mapper: (location: SourceLocation) => SourceLocation): void {
  mapped = mapper;
}

type SourceReader = (file: string) => string | undefined;
let readSource: SourceReader = () => undefined;

/** Lets the host (Node, a browser's dev server) provide source files, so that errors can quote lines. */
export function setSourceReader(reader: SourceReader): void {
  readSource = reader;
}

/** The source line with carets under the call at its column; empty if the source cannot be read. */
export function quoteSource(l: SourceLocation | undefined): string[] {
  const text = l && readSource(l.file)?.split("\n")[l.line - 1];
  if (!l || text === undefined) return [];
  return underline(text, l.line, l.column, callLength(text.slice(l.column - 1)));
}

/** The length of the call at the start of the text: a name and its balanced parentheses, within the line. */
function callLength(text: string): number {
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "(") depth++;
    if (text[i] === ")" && --depth <= 0) return depth < 0 ? i : i + 1;
    if (depth === 0 && /[;,]/.test(text[i]!)) return Math.max(1, i);
  }
  return Math.max(1, text.trimEnd().length);
}
