/** Reads a graph from its text form; docs/ir.md has the grammar. */
import { didYouMean } from "../diagnostics/did-you-mean.ts";
import { GraphTextError } from "../diagnostics/error.ts";
import { type Mistake, renderMistakes } from "../diagnostics/render.ts";
import { type Graph, makeGraph, type Output } from "./graph.ts";
import {
  attempt,
  type Elaboration,
  elaboration,
  type Frame,
  mostStatements,
  newFrame,
  report,
} from "./text/context.ts";
import { declareInputs, declareStandIns, elaborateBody } from "./text/elaborate.ts";
import { parseTokens } from "./text/grammar.ts";
import { defaultOutputName, spellType } from "./text/spell.ts";
import { lex } from "./text/tokens.ts";
import type { Section, SectionHead, Word } from "./text/tree.ts";
import { readName } from "./text/values.ts";
import { sameType } from "./type.ts";

/** A graph, or everything that is wrong with its text. */
export type ParseResult =
  | { readonly graph: Graph; readonly mistakes: readonly [] }
  | { readonly graph: undefined; readonly mistakes: readonly Mistake[] };

/** The graph of a text; throws GraphTextError with every mistake of it, each with its place, line and caret. */
export function parseGraph(text: string, fileName = "(text)"): Graph {
  const { graph, mistakes } = checkGraphText(text, fileName);
  if (graph) return graph;
  throw new GraphTextError(renderMistakes(fileName, text, mistakes));
}

/** The graph of a text, or its mistakes in the order of their places. */
export function checkGraphText(text: string, fileName = "(text)"): ParseResult {
  const lexed = lex(text);
  const parsed = parseTokens(lexed.tokens);
  const textual = onePerLine([...lexed.mistakes, ...parsed.mistakes]);
  const e = elaboration(fileName, lexed.tokens, new Set(textual.map((m) => m.line)));
  const graph = elaborateFile(e, parsed.sections, textual.length > 0);
  const meant = e.mistakes.filter((m) => !e.brokenLines.has(m.line)); // on a broken line they are consequences
  const mistakes = [...textual, ...meant].sort((a, b) => a.line - b.line || a.column - b.column);
  return graph && mistakes.length === 0 ? { graph, mistakes: [] } : { graph: undefined, mistakes };
}

/** What follows on a broken line is consequence; what is alien to the language is the cause. */
function onePerLine(mistakes: readonly Mistake[]): Mistake[] {
  const first = new Map<number, Mistake>();
  for (const m of mistakes) if (!first.has(m.line)) first.set(m.line, m);
  return [...first.values()];
}

function elaborateFile(e: Elaboration, sections: readonly Section[], broken: boolean): Graph | undefined {
  const graphs = sections.filter((s) => s.head?.kind === "graph");
  for (const [order, section] of sections.entries()) elaborateFunction(e, section, order);
  const [section, another] = graphs;
  if (another) report(e, another.head!.name.span, "a text holds one graph, and this is the second");
  if (!section && !broken) {
    report(e, { line: 1, column: 1, length: 1 }, "the text has no graph: it begins with graph @name(%x: f32[a=2]) {");
  }
  const headless = sections.filter((s) => !s.head);
  if (!section) {
    for (const s of headless) elaborateBody(e, newFrame(e.file, sections.length, true), s.body);
    return undefined;
  }
  return elaborateGraph(e, section, sections.indexOf(section), broken);
}

/** Registers a function and checks it by itself; its calls check it again on what they are given. */
function elaborateFunction(e: Elaboration, section: Section, order: number): void {
  const { head } = section;
  if (head?.kind !== "function") return;
  if (e.functions.has(head.name.text)) report(e, head.name.span, `there is another function @${head.name.text}`);
  else e.functions.set(head.name.text, { section, head, order });
  const frame = newFrame(e.file, order, false);
  declareStandIns(e, frame, head.inputs);
  elaborateBody(e, frame, section.body);
  for (const { result, name, updates } of frame.results) {
    const label = (name !== undefined && result.name) || (updates !== undefined && result.updates);
    if (label) report(e, label.span, "a function returns values without names: it has no outputs of its own");
  }
}

function elaborateGraph(e: Elaboration, section: Section, order: number, broken: boolean): Graph | undefined {
  const head = section.head as SectionHead;
  const frame = newFrame(e.file, order, false);
  declareInputs(e, frame, head.inputs);
  elaborateBody(e, frame, section.body);
  if (e.statementsLeft <= 0) {
    report(e, head.name.span, `unrolled, the text has more than ${mostStatements} statements`);
    return undefined;
  }
  if (frame.results.length === 0 && !broken) {
    report(e, section.end, `graph @${head.name.text} returns nothing: end it with return %value`);
  }
  const name = graphName(e, head.name);
  const outputs = namedOutputs(e, frame);
  const updates = outputUpdates(e, frame, outputs);
  if (e.mistakes.length > 0 || outputs.some((o) => !o.node)) return undefined;
  return makeGraph(name, outputs as Output[], [...frame.inputs.values()], updates);
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
    if (!input && !frame.broken.names) {
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
