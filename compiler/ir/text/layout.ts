/** Lays out a rolled graph as lines: names values, fills holes, aligns types in a column. */
import type { SizeBounds } from "../dim.ts";
import type { Block } from "../roll.ts";
import type { Loop, Pattern } from "../roll-fit.ts";
import { type Hole, holesOf, type Item } from "./item.ts";
import { type Names, nameValues } from "./names.ts";
import { operandSeries } from "./series.ts";
import { linear, type Sheet } from "./sheet.ts";
import { spellNumber, spellText } from "./spell.ts";

/** Lines with many operands are wrapped at this width; all others stay on one line, however long. */
const width = 120;
const manyOperands = 8;
/** The rightmost type column, so that one long line does not move all others. */
const typeColumn = 64;

export function layOut(sheet: Sheet): string {
  const names = nameValues(sheet);
  const body = blockLines(sheet, names, sheet.rolled.blocks);
  const symbols = sheet.symbols.map((s) => `symbol ${s.name} ${boundsText(s)}`);
  return [...symbols, `graph @${sheet.name}(${signatureText(sheet, names)}) {`, ...body, "}", ""].join("\n");
}

/** `in 8..2048 multiple of 8`; defaults are omitted. */
function boundsText({ min, max, multipleOf }: SizeBounds): string {
  const range =
    min === multipleOf && max === Number.POSITIVE_INFINITY ? [] : [`in ${min}..${Number.isFinite(max) ? max : ""}`];
  return [...range, ...(multipleOf === 1 ? [] : [`multiple of ${multipleOf}`])].join(" ");
}

function signatureText({ name: graph, signature }: Sheet, names: Names): string {
  const entries = signature.map(({ item, name }) => {
    const own = names.base(item);
    const quoted = own === name ? "" : ` ${spellText(name)}`;
    return `${item.pieces[0]}%${own}${quoted}: ${item.type}`;
  });
  const line = entries.join(", ");
  const fits = "graph @() {".length + graph.length + line.length <= width;
  return fits ? line : `\n${entries.map((e) => `  ${e}`).join(",\n")}\n`;
}

/** A line of text: the part before the type, and the type. */
interface Line {
  readonly head: string;
  readonly type: string;
}

function blockLines(sheet: Sheet, names: Names, blocks: readonly Block[]): string[] {
  const out: string[] = [];
  let run: Item[] = [];
  const flush = () => {
    // Not as arguments of one call: a graph may have more statements than a call takes.
    for (const line of statementLines(run, (item) => flatText(sheet, names, item), names, "  ")) out.push(line);
    run = [];
  };
  for (const block of blocks) {
    if (block.kind === "item") run.push(block.item);
    else {
      flush();
      out.push(...loopLines(sheet, names, block));
    }
  }
  flush();
  return out;
}

function loopLines(sheet: Sheet, names: Names, loop: Loop): string[] {
  const initial = loop.initial.map(({ slot, index, item }) => {
    return `%${names.base(loop.body[slot]!)}[${index}] = ${names.reference(item)}`;
  });
  const header = `  repeat ${loop.count} as ${sheet.variable}${initial.length > 0 ? ` with ${initial.join(", ")}` : ""} {`;
  const text = (item: Item, slot: number) =>
    fill(item, (_, h) => patternText(sheet, names, loop, loop.patterns[slot]![h]!));
  return [wrap(header, "      "), ...statementLines(loop.body, text, names, "    "), "  }"];
}

/** Statements as lines with aligned types; consecutive results share a return. */
function statementLines(
  items: readonly Item[],
  text: (item: Item, i: number) => string,
  names: Names,
  indent: string,
): string[] {
  const lines: Line[] = [];
  let results: string[] = [];
  const flush = () => {
    if (results.length > 0) lines.push({ head: returnText(results, indent), type: "" });
    results = [];
  };
  for (const [i, item] of items.entries()) {
    if (item.isResult) {
      results.push(text(item, i));
      continue;
    }
    flush();
    const line = `${indent}%${names.base(item)} = ${text(item, i)}`;
    const head = holesOf(item).length < manyOperands ? line : wrap(line, `${indent}    `);
    lines.push({ head, type: item.type });
  }
  flush();
  const lengths = lines.filter((l) => l.type !== "").map((l) => lastLine(l.head).length);
  const column = lengths.reduce((most, n) => (n <= typeColumn ? Math.max(most, n) : most), 0);
  return lines.map(({ head, type }) => {
    if (type === "") return head;
    return `${head}${" ".repeat(Math.max(0, column - lastLine(head).length))} : ${type}`;
  });
}

const lastLine = (text: string): string => text.slice(text.lastIndexOf("\n") + 1);

function returnText(results: readonly string[], indent: string): string {
  const line = `${indent}return ${results.join(", ")}`;
  return line.length <= width ? line : `${indent}return ${results.join(`,\n${indent}  `)}`;
}

/** Breaks a long line after commas outside of quotes. */
function wrap(line: string, indent: string): string {
  if (line.length <= width) return line;
  const parts = line.match(/(?:"(?:[^"\\]|\\.)*"|[^,"])+,? ?/g) ?? [line];
  const lines: string[] = [];
  for (const part of parts) {
    const last = lines.at(-1);
    if (last !== undefined && (last + part).trimEnd().length <= width) lines[lines.length - 1] = last + part;
    else lines.push(last === undefined ? part : indent + part);
  }
  return lines.map((l) => l.trimEnd()).join("\n");
}

const fill = (item: Item, text: (hole: Hole, h: number) => string): string => {
  let h = 0;
  return item.pieces.map((p) => (typeof p === "string" ? p : text(p, h++))).join("");
};

/** A statement outside of loops. */
function flatText(sheet: Sheet, names: Names, item: Item): string {
  const operands = holesOf(item).flatMap((h) => (h.kind === "operand" ? [h.item] : []));
  const series = operandSeries(operands, sheet.rolled.places, names, sheet.variable);
  if (!series) return fill(item, (hole) => holeText(names, hole));
  const first = item.pieces.findIndex((p) => typeof p !== "string" && p.kind === "operand");
  const last = item.pieces.findLastIndex((p) => typeof p !== "string" && p.kind === "operand");
  const rest = (from: number, to?: number) =>
    fill({ ...item, pieces: item.pieces.slice(from, to) }, (hole) => holeText(names, hole));
  return `${rest(0, first)}${series}${rest(last + 1)}`;
}

function holeText(names: Names, hole: Hole): string {
  if (hole.kind === "operand") return names.reference(hole.item);
  return hole.kind === "literal" ? spellNumber(hole.value) : String(hole.value);
}

/** The text of a hole in a loop's body. */
function patternText(sheet: Sheet, names: Names, loop: Loop, pattern: Pattern): string {
  switch (pattern.kind) {
    case "same":
      return names.reference(pattern.item);
    case "member": {
      const { scale, offset, slot } = pattern;
      const name = `%${names.base((pattern.loop ?? loop).body[slot]!)}`;
      const current = !pattern.loop && scale === 1 && offset === 0;
      return current ? name : `${name}[${linear(scale, offset, sheet.variable)}]`;
    }
    case "counter": {
      const text = linear(pattern.scale, pattern.offset, sheet.variable);
      return pattern.quoted && pattern.scale !== 0 ? `{${text}}` : text;
    }
    case "literals": {
      const [first] = pattern.values;
      if (pattern.values.every((v) => Object.is(v, first))) return spellNumber(first!);
      return `[${pattern.values.map(spellNumber).join(", ")}][${sheet.variable}]`;
    }
  }
}
