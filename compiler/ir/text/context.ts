/** The state of elaborating a text: mistakes so far, functions, and the current section. */
import type { IToken } from "chevrotain";
import type { Mistake } from "../../diagnostics/render.ts";
import type { SymbolicDim } from "../dim.ts";
import { intern, type Node } from "../node.ts";
import type { TensorType } from "../type.ts";
import { type Known, rootScope, type Scope } from "./scope.ts";
import type { Extent, Result, Section, SectionHead, Span, TypeTree, Word } from "./tree.ts";
import { readType, TextFault, UnknownIteration } from "./values.ts";

/** The most statements, with loops unrolled and calls inlined; more are reported as a mistake. */
export const mostStatements = 200_000;

/** The deepest nesting of function calls. */
export const deepestCall = 100;

export interface FunctionSection {
  readonly section: Section;
  readonly head: SectionHead;
  /** Its index among the sections: only later sections may call it. */
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
  /** True if the head of an enclosing loop is broken and names no variable. */
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

/** The state of one section or call. */
export interface Frame {
  readonly file: string;
  readonly scope: Scope;
  /** Prefix of the names declared here; from `call ... as`. */
  readonly prefix: string;
  /** Inputs of the graph by name, in the order of the text. */
  readonly inputs: Map<string, Node>;
  readonly results: FrameResult[];
  readonly order: number;
  /** The number of enclosing calls. */
  readonly depth: number;
  /**
   * What faulty lines may have declared: patterns of input names, and whether there were results. Their absence is not
   * reported.
   */
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

/** Reports a mistake, once per position: functions and loop bodies are elaborated more than once. */
export function report(e: Elaboration, span: Span, message: string, hint?: string): void {
  if (e.mistakes.some((m) => m.line === span.line && m.column === span.column)) return;
  e.mistakes.push({ ...span, message, ...(hint !== undefined && { hint }) });
}

/** Runs `body`; if it throws a TextFault, reports it and returns `otherwise()`. */
export function attempt<T>(e: Elaboration, body: () => T, otherwise: () => T): T {
  try {
    return body();
  } catch (fault) {
    if (!(fault instanceof TextFault)) throw fault;
    if (!(fault instanceof UnknownIteration && e.lostVariable)) report(e, fault.span, fault.message, fault.hint);
    return otherwise();
  }
}

/** Runs `body`; reports a TextFault that it throws. */
export const check = (e: Elaboration, body: () => void): void => attempt(e, body, () => {});

/** A placeholder for a value whose statement is faulty; a graph that contains one is never returned. */
export function placeholder(type: TensorType | undefined, word: Word): Known {
  if (!type) return { node: undefined };
  const name = `faulty ${word.span.line}:${word.span.column}`;
  return { node: intern("input", [], { name, dtype: type.dtype, axes: type.axes as never }, type) };
}

/** An annotated type; undefined if there is none or it is faulty, which is reported. */
export const typeOf = (e: Elaboration, tree: TypeTree | undefined, scope: Scope): TensorType | undefined =>
  tree &&
  attempt<TensorType | undefined>(
    e,
    () => readType(tree, scope.bindings),
    () => undefined,
  );

/** True if a line or statement has a lexical or syntax error. */
export const isBroken = (e: Elaboration, extent: Extent): boolean =>
  e.brokenLines.size > 0 && tokensOf(e, extent).some((t) => e.brokenLines.has(t.startLine!));

/** The tokens of a line or statement, found by binary search. */
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
