/** What is wrong with a text: mistakes that its types have, and why it was not compiled. */
import type { Fault } from "./compile-pane/compile-pane.ts";
import type { Mistake } from "./editor/language-worker.ts";
import { modelFile } from "./machine/user-module-name.ts";

/** Errors shown in the compile pane; the editor underlines all. */
const mostTold = 6;

export const errorsAmong = (mistakes: readonly Mistake[]): Mistake[] =>
  mistakes.filter(({ severity }) => severity === "error");

/** Type errors with their lines, as one fault; none if there are none. */
export function typeFaults(mistakes: readonly Mistake[], text: string): Fault[] {
  const errors = errorsAmong(mistakes);
  if (errors.length === 0) return [];
  const lines = errors.map(({ from, message }) => `line ${text.slice(0, from).split("\n").length}: ${message}`);
  const more = lines.length - mostTold;
  const rest = more > 0 ? [`and ${more} more, underlined in the editor`] : [];
  return [{ title: "Type errors", text: [...lines.slice(0, mostTold), ...rest].join("\n\n") }];
}

/** The position in the text that an error's message names, if it does. */
export function placeOf(message: string, text: string): Mistake[] {
  const place = new RegExp(`${modelFile}:(\\d+):(\\d+)`).exec(message);
  if (!place) return [];
  const from = offsetOf(text, Number(place[1]), Number(place[2]));
  const length = /^[\w.$]+/.exec(text.slice(from))?.[0].length ?? 1;
  return [{ from, to: from + length, message, severity: "error" }];
}

/** Lines and columns count from 1. */
const offsetOf = (text: string, line: number, column: number): number =>
  text
    .split("\n")
    .slice(0, line - 1)
    .reduce((n, l) => n + l.length + 1, 0) +
  column -
  1;
