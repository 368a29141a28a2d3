/**
 * Lines of text linked to the source: the line under the mouse or the cursor is marked in the editor, and vice versa.
 */

import type { TextLine } from "../machine/compiled.ts";
import { element } from "../shell/element.ts";
import { movedBy } from "../shell/list-keys.ts";
import { tokens } from "./tokens.ts";

/** What other panes do in the editor; lines count from 1. */
export interface Links {
  /** Marks lines. */
  readonly point: (lines: readonly number[]) => void;
  /** Marks lines and scrolls to the first. */
  readonly reveal: (lines: readonly number[]) => void;
  /** Goes to a line, also where one pane is shown at a time; with `isFocused`, the keyboard too. */
  readonly goTo: (line: number, isFocused: boolean) => void;
}

export interface ShownLine extends TextLine {
  readonly mark?: "gone" | "new";
}

/** A list of rows, one of which has the cursor. */
interface Parts {
  readonly view: HTMLElement;
  readonly rows: readonly HTMLElement[];
  readonly lines: readonly ShownLine[];
  readonly cursor: Cursor;
}

interface Cursor {
  /** Index of the row; -1 until there is one. */
  readonly at: () => number;
  readonly moveTo: (index: number) => void;
}

/**
 * A list of lines with a cursor: arrow keys, Page Up, Page Down, Home and End move it, Enter goes to the line of the
 * editor that its line comes from, as a click does.
 */
export function textView(label: string, lines: readonly ShownLine[], links: Links): HTMLElement {
  const rows = lines.map(rowOf);
  const view = element("div", { class: "code", tabindex: 0, role: "listbox", "aria-label": label }, ...rows);
  const parts = { view, rows, lines, cursor: cursorIn(view, rows) };
  onKeys(parts, links);
  onPointer(parts, links);
  return view;
}

/** Numbers the lines that were under a cursor: an id is how it is announced. */
let count = 0;

function cursorIn(view: HTMLElement, rows: readonly HTMLElement[]): Cursor {
  let at = -1;
  const moveTo = (next: number) => {
    if (at >= 0) setCursor(rows[at]!, false);
    at = next;
    setCursor(rows[at]!, true);
    view.setAttribute("aria-activedescendant", (rows[at]!.id ||= `code-line-${count++}`));
  };
  return { at: () => at, moveTo };
}

function onKeys({ view, rows, lines, cursor }: Parts, links: Links): void {
  view.addEventListener("focus", () => {
    if (cursor.at() >= 0 || rows.length === 0 || !view.matches(":focus-visible")) return;
    cursor.moveTo(Math.max(0, rows.findIndex(isPointed)));
  });
  view.addEventListener("keydown", (event) => {
    const line = lines[cursor.at()]?.line;
    const next = movedBy(event.key, cursor.at(), rows.length);
    if (event.key === "Enter" && line !== undefined) links.goTo(line, true);
    else if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    else {
      cursor.moveTo(next);
      rows[next]!.scrollIntoView({ block: "nearest" });
      follow(lines[next]!, links);
    }
    event.preventDefault();
  });
}

function follow({ line }: ShownLine, links: Links): void {
  if (line === undefined) links.point([]);
  else links.reveal([line]);
}

function onPointer({ view, rows, lines, cursor }: Parts, links: Links): void {
  let over = -1;
  const hover = (next: number) => {
    if (next === over) return;
    over = next;
    const line = lines[over]?.line;
    links.point(line === undefined ? [] : [line]);
  };
  const indexOf = ({ target }: Event) => rows.indexOf((target as Element).closest<HTMLElement>(".code-line")!);
  view.addEventListener("pointerover", (event) => hover(indexOf(event)));
  view.addEventListener("pointerleave", () => hover(-1));
  view.addEventListener("click", (event) => {
    const clicked = indexOf(event);
    if (clicked < 0 || getSelection()?.isCollapsed === false) return; // text was selected, to copy it
    cursor.moveTo(clicked);
    const line = lines[clicked]!.line;
    if (line !== undefined) links.goTo(line, false);
  });
}

function rowOf({ text, line, mark }: ShownLine): HTMLDivElement {
  return element(
    "div",
    {
      class: `code-line${mark ? ` ${mark}` : ""}${line === undefined ? "" : " linked"}`,
      role: "option",
      "aria-selected": "false",
      "aria-description": line === undefined ? undefined : `from line ${line} of the model`,
      "data-line": line,
    },
    element("span", { class: "from", "aria-hidden": "true" }, line === undefined ? "" : String(line)),
    element("span", { class: "code-text" }, ...tokens(text)),
  );
}

function setCursor(row: HTMLElement, isOn: boolean): void {
  row.classList.toggle("cursor", isOn);
  row.setAttribute("aria-selected", String(isOn));
}

const isPointed = (row: Element): boolean => row.classList.contains("pointed");

/**
 * Marks the lines of a view that originate from a line of the editor; with `isShown`, scrolls to the first of them
 * unless one is in view.
 */
export function markLines(view: HTMLElement, line: number, isShown: boolean): void {
  const found: Element[] = [];
  for (const row of view.querySelectorAll<HTMLElement>("[data-line], [data-lines]")) {
    const own = (row.dataset.lines ?? row.dataset.line)!.split(",").map(Number);
    const isOwn = own.includes(line);
    row.classList.toggle("pointed", isOwn);
    if (isOwn) found.push(row);
  }
  if (isShown && !found.some((row) => isInView(row, view))) found[0]?.scrollIntoView({ block: "nearest" });
}

function isInView(row: Element, view: HTMLElement): boolean {
  const [inner, outer] = [row.getBoundingClientRect(), view.getBoundingClientRect()];
  return inner.top >= outer.top && inner.bottom <= outer.bottom;
}
