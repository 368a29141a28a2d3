/** Mistakes in a text, printed as a compiler does: where, what, the line and a caret below it. */

/** One thing wrong in a text; lines and columns count from 1. */
export interface Mistake {
  readonly line: number;
  readonly column: number;
  /** How many characters the caret underlines. */
  readonly length: number;
  readonly message: string;
  readonly hint?: string;
}

/** All mistakes of a text in the order of their places, under one headline. */
export function renderMistakes(file: string, text: string, mistakes: readonly Mistake[]): string {
  const lines = text.split("\n");
  const sorted = [...mistakes].sort((a, b) => a.line - b.line || a.column - b.column);
  const headline = `${file} has ${sorted.length === 1 ? "a mistake" : `${sorted.length} mistakes`}`;
  return [headline, ...sorted.map((m) => renderMistake(file, lines[m.line - 1] ?? "", m))].join("\n\n");
}

function renderMistake(file: string, line: string, m: Mistake): string {
  const where = `${file}:${m.line}:${m.column}`;
  const hint = m.hint === undefined ? [] : [`  hint: ${m.hint}`];
  return [`${where}: ${m.message}`, ...underline(line, m.line, m.column, m.length), ...hint].join("\n");
}

/** A numbered line of source with carets below `length` characters from `column`. */
export function underline(line: string, number: number, column: number, length: number): string[] {
  const margin = String(number).padStart(4);
  const text = line.replace(/[\t\r]/g, " ").trimEnd(); // one column for each character
  const carets = " ".repeat(Math.max(0, column - 1)) + "^".repeat(Math.max(1, length));
  return [`${margin} | ${text}`, `${" ".repeat(margin.length)} | ${carets}`];
}
