/** What is known while a text is read: its mistakes so far, its functions, and the section at hand. */
import type { IToken } from "chevrotain";
import type { Mistake } from "../../diagnostics/render.ts";
import type { SymbolicDim } from "../dim.ts";
import { intern, type Node } from "../node.ts";
import type { TensorType } from "../type.ts";
import { type Known, rootScope, type Scope } from "./scope.ts";
import type { Extent, Result, Section, SectionHead, Span, TypeTree, Word } from "./tree.ts";
import { readType, TextFault, UnknownIteration } from "./values.ts";

/** More than this many statements, with loops unrolled and calls inlined, are a mistake and not a model. */
export const mostStatements = 200_000;

/** Functions that call functions: no further than this. */
export const deepestCall = 100;

export interface FunctionSection {
  readonly section: Section;
  readonly head: SectionHead;
  /** Its place among the sections: a function is called after it. */
  readonly order: number;
}

export interface Elaboration {
  readonly file: string;
  readonly tokens: readonly IToken[];
  /** Lines that hold a lexical or syntactic mistake. */
  readonly brokenLines: ReadonlySet<number>;
  readonly mistakes: Mistake[];
  /** Declared sizes, by name. */
  readonly symbols: Map<string, SymbolicDim>;
  readonly functions: Map<string, FunctionSection>;
  /** Functions whose signature does not parse, by name. */
  readonly lostFunctions: Set<string>;
  statementsLeft: number;
  /** The head of a loop around is broken and names no variable. */
  lostVariable: boolean;
}

export const elaboration = (
  file: string,
  tokens: readonly IToken[],
  brokenLines: ReadonlySet<number>,
): Elaboration => ({
  file,
  tokens,
  brokenLines,
  mistakes: [],
  symbols: new Map(),
  functions: new Map(),
  lostFunctions: new Set(),
  statementsLeft: mostStatements,
  lostVariable: false,
});

export interface FrameResult {
  readonly result: Result;
  readonly name: string | undefined;
  readonly updates: string | undefined;
  readonly known: Known;
}

/** What a section makes while it is read. */
export interface Frame {
  readonly file: string;
  readonly scope: Scope;
  /** Goes before the names of what is declared here; from `call ... as`. */
  readonly prefix: string;
  /** Inputs of the graph by name, in the order of the text. */
  readonly inputs: Map<string, Node>;
  readonly results: FrameResult[];
  readonly order: number;
  /** Calls around this one. */
  readonly depth: number;
  /** What faulty lines may have said: patterns of inputs' names, and whether there were results. To miss those is nobody's mistake. */
  readonly lost: { readonly inputs: Set<string>; results: boolean };
}

export const newFrame = (e: Elaboration, order: number): Frame => ({
  file: e.file,
  scope: rootScope(e.symbols),
  prefix: "",
  inputs: new Map(),
  results: [],
  order,
  depth: 0,
  lost: { inputs: new Set(), results: false },
});

/** Reports a mistake, once for each place: a function or a loop comes by more than once. */
export function report(e: Elaboration, span: Span, message: string, hint?: string): void {
  if (e.mistakes.some((m) => m.line === span.line && m.column === span.column)) return;
  e.mistakes.push({ ...span, message, ...(hint !== undefined && { hint }) });
}

/** Runs `body`; a fault in it is reported, and `otherwise` stands for its result. */
export function attempt<T>(e: Elaboration, body: () => T, otherwise: () => T): T {
  try {
    return body();
  } catch (fault) {
    if (!(fault instanceof TextFault)) throw fault;
    if (!(fault instanceof UnknownIteration && e.lostVariable)) report(e, fault.span, fault.message, fault.hint);
    return otherwise();
  }
}

/** Runs `body` and reports a fault in it. */
export const check = (e: Elaboration, body: () => void): void => attempt(e, body, () => {});

/** Stands for a value whose statement is faulty; no graph that holds one is ever handed out. */
export function placeholder(type: TensorType | undefined, word: Word): Known {
  if (!type) return { node: undefined };
  const name = `faulty ${word.span.line}:${word.span.column}`;
  return { node: intern("input", [], { name, dtype: type.dtype, axes: type.axes as never }, type) };
}

/** An annotated type; undefined where there is none or it is faulty, which is then reported. */
export const typeOf = (e: Elaboration, tree: TypeTree | undefined, scope: Scope): TensorType | undefined =>
  tree &&
  attempt<TensorType | undefined>(
    e,
    () => readType(tree, scope.bindings),
    () => undefined,
  );

/** True for a line or a statement with a lexical or syntactic mistake. */
export const isBroken = (e: Elaboration, extent: Extent): boolean =>
  e.brokenLines.size > 0 && tokensOf(e, extent).some((t) => e.brokenLines.has(t.startLine!));

/** The tokens of a line or a statement, found by binary search. */
export function tokensOf(e: Elaboration, { from, to }: Extent): readonly IToken[] {
  let [low, high] = [0, e.tokens.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (e.tokens[middle]!.startOffset < from) low = middle + 1;
    else high = middle;
  }
  let end = low;
  while (end < e.tokens.length && e.tokens[end]!.startOffset < to) end++;
  return e.tokens.slice(low, end);
}
