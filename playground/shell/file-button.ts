/** A button that lets a person choose a file. */
import { element } from "./element.ts";

export interface FileButtonOptions {
  readonly class: string;
  /** The types of files that are offered: endings or media types, separated by commas. */
  readonly accept: string;
  readonly onFile: (file: File) => void;
}

export function fileButton(text: string, { class: className, accept, onFile }: FileButtonOptions): HTMLElement {
  const input = element("input", {
    type: "file",
    accept,
    class: "visually-hidden",
    onchange: () => {
      const file = input.files?.[0];
      input.value = ""; // so that the same file can be chosen again
      if (file) onFile(file);
    },
  });
  return element("label", { class: className }, text, input);
}
