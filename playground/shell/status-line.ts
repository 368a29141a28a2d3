/** A line of text that says what is being done or what came of it; screen readers read it out. */
import { element } from "./element.ts";
import { sentences } from "./sentences.ts";

export interface StatusLine {
  readonly element: HTMLElement;
  readonly say: (text: string) => void;
  /** Says an error's message. */
  readonly fail: (message: string) => void;
}

export function statusLine(className: string): StatusLine {
  const line = element("p", { class: className, role: "status" });
  const show = (text: string, isBad: boolean) => {
    line.textContent = text;
    line.classList.toggle("bad", isBad);
  };
  return { element: line, say: (text) => show(text, false), fail: (message) => show(sentences(message), true) };
}
