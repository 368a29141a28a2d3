/** Reads a graph from its text form; docs/ir.md has the grammar. */
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { GraphTextError, HeddleError, UsageError } from "../diagnostics/error.ts";
import { type Mistake, renderMistakes } from "../diagnostics/render.ts";
import { symbol } from "./dim.ts";
import { type Graph, makeGraph, type Output } from "./graph.ts";
import type { Node } from "./node.ts";
import {
  attempt,
  check,
  type Elaboration,
  elaboration,
  type Frame,
  isBroken,
  mostStatements,
  newFrame,
  report,
  tokensOf,
} from "./text/context.ts";
import { declareInputs, declareStandIns, elaborateBody } from "./text/elaborate.ts";
import { parseTokens } from "./text/grammar.ts";
import { readLines } from "./text/lines.ts";
import { declareLost, mayBeLost } from "./text/lost.ts";
import { defaultOutputName, spellType } from "./text/spell.ts";
import { Callable, FunctionWord, lex, NewLine } from "./text/tokens.ts";
import {
  type FileTree,
  type Section,
  type SectionHead,
  type Span,
  type SymbolTree,
  spanOf,
  type Word,
} from "./text/tree.ts";
import { readName, TextFault } from "./text/values.ts";
import { sameType } from "./type.ts";

/** A graph, or all mistakes in its text. */
export type ParseResult =
  | {
      readonly graph: Graph;
      /** The nodes named outside of loops, by name without the %. */
      readonly values: ReadonlyMap<string, Node>;
      readonly mistakes: readonly [];
    }
  | { readonly graph: undefined; readonly mistakes: readonly Mistake[] };

/** Parses a graph; throws GraphTextError with every mistake, each with its position, line and caret. */
export function parseGraph(text: string, fileName = "(text)"): Graph {
  if (typeof text !== "string") throw new UsageError(`a graph is parsed from its text, not from ${text}`);
  const { graph, mistakes } = checkGraphText(text, fileName);
  if (graph) return graph;
  throw new GraphTextError(renderMistakes(fileName, text, mistakes));
}

/** Parses a graph, or returns its mistakes in the order of the text. */
export function checkGraphText(text: string, fileName = "(text)"): ParseResult {
  const lexed = lex(text);
  const lines = readLines(lexed.tokens);
  const parsed = parseTokens(lines.tokens);
  const textual = onePerLine([...lexed.mistakes, ...lines.mistakes, ...parsed.mistakes]);
  const tokens = lexed.tokens.filter((t) => t.tokenType !== NewLine);
  const e = elaboration(fileName, tokens, new Set(textual.map((m) => m.line)));
  const graph = elaborateFile(e, parsed.file, lines.lostOutside);
  const meant = e.mistakes.filter((m) => !e.brokenLines.has(m.line)); // on a broken line they are follow-up errors
  const mistakes = [...textual, ...meant].sort((a, b) => a.line - b.line || a.column - b.column);
  return graph && mistakes.length === 0 ? { ...graph, mistakes: [] } : { graph: undefined, mistakes };
}

/** Keeps one mistake per line: lexical ones come first, and later ones on the same line are follow-up errors. */
function onePerLine(mistakes: readonly Mistake[]): Mistake[] {
  const first = new Map<number, Mistake>();
  for (const m of mistakes) if (!first.has(m.line)) first.set(m.line, m);
  return [...first.values()];
}

/** A graph with its named values. */
type Named = Pick<Extract<ParseResult, { graph: Graph }>, "graph" | "values">;

function elaborateFile(e: Elaboration, { symbols, sections }: FileTree, lostOutside: boolean): Named | undefined {
  for (const tree of symbols) declareSymbol(e, tree);
  const graphs = sections.flatMap((section, order) => {
    if (tokensOf(e, section)[0]?.tokenType !== FunctionWord)
      return [{ section, graph: elaborateGraph(e, section, order) }];
    elaborateFunction(e, section, order);
    return [];
  });
  const [first, another] = graphs;
  if (another) report(e, startOf(e, another.section), "a text holds one graph, and this is the second");
  if (!first && !lostOutside) {
    report(e, { line: 1, column: 1, length: 1 }, "the text has no graph: it begins with graph @name(%x: f32[a=2]) {");
  }
  return first?.graph;
}

function declareSymbol(e: Elaboration, { name, min, max, multipleOf }: SymbolTree): void {
  check(e, () => {
    if (e.symbols.has(name.text)) throw new TextFault(name.span, `there is another symbol ${name.text}`);
    try {
      const given = Object.entries({ min, max, multipleOf }).filter(([, n]) => n !== undefined);
      e.symbols.set(name.text, symbol(name.text, Object.fromEntries(given)));
    } catch (error) {
      if (error instanceof HeddleError) throw new TextFault(name.span, error.message);
      throw error;
    }
  });
}

const startOf = (e: Elaboration, section: Section): Span => section.head?.name.span ?? spanOf(tokensOf(e, section)[0]!);

/** The head of a section; undefined if its line is broken, and only the names in it are known. */
const soundHead = (e: Elaboration, section: Section): SectionHead | undefined =>
  isBroken(e, section) ? undefined : section.head;

/** Registers a function and checks its body on its own; each call checks it again on its arguments. */
function elaborateFunction(e: Elaboration, section: Section, order: number): void {
  const head = soundHead(e, section);
  const frame = newFrame(e, order);
  if (!head) {
    const name = tokensOf(e, section).find((t) => t.tokenType === Callable);
    if (name) e.lostFunctions.add(name.image.slice(1));
    declareLost(e, frame, section);
  } else {
    if (e.functions.has(head.name.text)) report(e, head.name.span, `there is another function @${head.name.text}`);
    else e.functions.set(head.name.text, { section, head, order });
    declareStandIns(e, frame, head.inputs);
  }
  elaborateBody(e, frame, section.body);
  for (const { result, name, updates } of frame.results) {
    const label = (name !== undefined && result.name) || (updates !== undefined && result.updates);
    if (label) report(e, label.span, "a function returns values without names: it has no outputs of its own");
  }
}

function elaborateGraph(e: Elaboration, section: Section, order: number): Named | undefined {
  const head = soundHead(e, section);
  const frame = newFrame(e, order);
  if (head) declareInputs(e, frame, head.inputs);
  else declareLost(e, frame, section);
  elaborateBody(e, frame, section.body);
  if (e.statementsLeft <= 0) {
    report(e, startOf(e, section), `unrolled, the text has more than ${mostStatements} statements`);
    return undefined;
  }
  if (frame.results.length === 0 && !frame.lost.results) {
    report(
      e,
      section.end,
      `${head ? `graph @${head.name.text}` : "the graph"} returns nothing: end it with return %value`,
    );
  }
  const name = head && graphName(e, head.name);
  const outputs = namedOutputs(e, frame);
  const updates = outputUpdates(e, frame, outputs);
  if (name === undefined || e.mistakes.length > 0 || outputs.some((o) => !o.node)) return undefined;
  const values = new Map(
    [...frame.scope.values].flatMap(([value, { known }]) => (known.node ? [[value, known.node] as const] : [])),
  );
  return { graph: makeGraph(name, outputs as Output[], [...frame.inputs.values()], updates), values };
}

const graphName = (e: Elaboration, word: Word): string =>
  attempt(
    e,
    () => readName(word, new Map()),
    () => word.text,
  );

type MaybeOutput = { readonly name: string; readonly node: Output["node"] | undefined };

function namedOutputs(e: Elaboration, { results }: Frame): MaybeOutput[] {
  const seen = new Set<string>();
  return results.map(({ result, name, known }, i) => {
    const own = name ?? defaultOutputName(i, results.length);
    if (seen.has(own)) report(e, (result.name ?? result.operand).span, `two outputs are named "${own}"`);
    seen.add(own);
    return { name: own, node: known.node };
  });
}

function outputUpdates(e: Elaboration, frame: Frame, outputs: readonly MaybeOutput[]): Record<string, string> {
  const updates: [string, string][] = [];
  frame.results.forEach(({ result, updates: target }, i) => {
    if (target === undefined) return;
    const { name, node } = outputs[i]!;
    const input = frame.inputs.get(target);
    if (!input && !mayBeLost(frame, target)) {
      report(
        e,
        result.updates!.span,
        `there is no input "${target}" to update${didYouMean(target, frame.inputs.keys())}`,
      );
    } else if (input && node && !sameType(input.type, node.type)) {
      const message = `"${target}" is ${spellType(input.type)}, but what would replace it is ${spellType(node.type)}`;
      report(e, result.operand.span, message);
    }
    updates.push([name, target]);
  });
  return Object.fromEntries(updates);
}
