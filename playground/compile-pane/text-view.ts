/** Lines of text linked to the source: hovering over one marks its line in the editor, and vice versa. */

import type { TextLine } from "../machine/compiled.ts";
import { element } from "../shell/element.ts";
import { tokens } from "./tokens.ts";

export interface Links {
  /** Marks lines of the editor; `isShown` scrolls to them. */
  readonly point: (lines: readonly number[], isShown: boolean) => void;
}

export interface ShownLine extends TextLine {
  readonly mark?: "gone" | "new";
}

/** A focusable list of lines. */
export function textView(label: string, lines: readonly ShownLine[], links: Links): HTMLElement {
  const rows = lines.map(({ text, line, mark }) => {
    const row = element(
      "div",
      { class: `code-line${mark ? ` ${mark}` : ""}${line === undefined ? "" : " linked"}`, "data-line": line },
      element("span", { class: "from", "aria-hidden": "true" }, line === undefined ? "" : String(line)),
      element("span", { class: "code-text" }, ...tokens(text)),
    );
    if (line !== undefined) {
      row.addEventListener("pointerenter", () => links.point([line], false));
      row.addEventListener("click", () => links.point([line], true));
    }
    return row;
  });
  const view = element("div", { class: "code", tabindex: 0, role: "region", "aria-label": label }, ...rows);
  view.addEventListener("pointerleave", () => links.point([], false));
  return view;
}

/** Marks the lines of a view that originate from a line of the editor; with `isShown`, scrolls to the first. */
export function markLines(view: HTMLElement, line: number, isShown: boolean): void {
  let first: Element | undefined;
  for (const row of view.querySelectorAll<HTMLElement>("[data-line], [data-lines]")) {
    const own = (row.dataset.lines ?? row.dataset.line)!.split(",").map(Number);
    const isOwn = own.includes(line);
    row.classList.toggle("pointed", isOwn);
    if (isOwn) first ??= row;
  }
  if (isShown) first?.scrollIntoView({ block: "nearest" });
}
