/** Renders mistakes in a text in the style of compiler errors: location, message, source line and carets. */

/** One mistake in a text; lines and columns count from 1. */
export interface Mistake {
  readonly line: number;
  readonly column: number;
  /** How many characters the caret underlines. */
  readonly length: number;
  readonly message: string;
  readonly hint?: string;
}

/** More would hide the first ones, which are often the cause of the others. */
const mostShown = 50;

/** The mistakes of a text sorted by location, under one headline; those beyond the first 50 are only counted. */
export function renderMistakes(file: string, text: string, mistakes: readonly Mistake[]): string {
  const lines = text.split("\n");
  const sorted = [...mistakes].sort((a, b) => a.line - b.line || a.column - b.column);
  const headline = `${file} has ${sorted.length === 1 ? "a mistake" : `${sorted.length} mistakes`}`;
  const shown = sorted.slice(0, mostShown).map((m) => renderMistake(file, lines[m.line - 1] ?? "", m));
  const rest = sorted.length > mostShown ? [`and ${sorted.length - mostShown} more`] : [];
  return [headline, ...shown, ...rest].join("\n\n");
}

function renderMistake(file: string, line: string, m: Mistake): string {
  const where = `${file}:${m.line}:${m.column}`;
  const hint = m.hint === undefined ? [] : [`  hint: ${m.hint}`];
  return [`${where}: ${m.message}`, ...underline(line, m.line, m.column, m.length), ...hint].join("\n");
}

/** Columns shown of a line; longer lines are cut to a window around the mistake. */
const widest = 160;

/** A numbered source line with carets under `length` characters from `column`; control characters are replaced. */
export function underline(line: string, number: number, column: number, length: number): string[] {
  const margin = String(number).padStart(4);
  const start = line.length > widest ? Math.max(0, column - 1 - widest / 2) : 0;
  const window = line.slice(start, start + widest).replace(/[\t\r]/g, " ");
  const text = window.replace(/[\p{Cc}\p{Cf}]/gu, "\ufffd").trimEnd(); // one column for each character
  const before = column - 1 - start;
  const carets = " ".repeat(Math.max(0, before)) + "^".repeat(Math.max(1, Math.min(length, widest - before)));
  return [`${margin} | ${text}`, `${" ".repeat(margin.length)} | ${carets}`];
}
